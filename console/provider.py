"""Where allauth looks for the identity provider of an app."""

from console.signing.oidc import IdentityProvider

provider_classes = [IdentityProvider]
