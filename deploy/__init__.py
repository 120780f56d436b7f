"""How the service is run: on one machine for a look, in containers, behind Traefik."""
