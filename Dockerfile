# Gate, console, worker and setup: one image, told apart by AUTHSVC_SERVES and the command.
# Pin the base to what you have checked: --build-arg BASE=python:3.13-slim@sha256:…
ARG BASE=python:3.13-slim

FROM ${BASE} AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
# An environment of its own, so that nothing the base image brings is in the way; pip stays outside of it. This layer
# changes with the lock file alone.
COPY requirements/service.txt /tmp/
RUN python -m venv --without-pip /opt/venv \
    && pip --python /opt/venv/bin/python install --no-cache-dir --no-deps --require-hashes -r /tmp/service.txt

FROM ${BASE}
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PATH=/opt/venv/bin:$PATH
RUN groupadd --gid 10001 authsvc \
    && useradd --uid 10001 --gid authsvc --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin authsvc \
    # Where volumes are mounted: a new one takes the owner of the folder it covers.
    && mkdir -p /secrets/authsvc /secrets/postgres /secrets/redis /secrets/traefik /secrets/operator /data \
    && chown -R authsvc:authsvc /secrets /data
COPY --from=packages /opt/venv /opt/venv
WORKDIR /srv
COPY manage.py ./
COPY authsvc authsvc
COPY accounts accounts
COPY quotas quotas
COPY api api
COPY console console
COPY traefik traefik
COPY runtime runtime
COPY store store
COPY deploy/gunicorn.conf.py deploy/catalogue.toml deploy/make_secrets.py deploy/

# The values only let the settings load while the static files are gathered; they are in no layer's environment.
RUN SECRET_KEY=only-for-building-only-for-building KEY_PEPPER=only-for-building-only-for-building \
    DATABASE_URL=sqlite:////tmp/none REDIS_URL=redis://none python manage.py collectstatic --no-input -v 0

LABEL org.opencontainers.image.title="authsvc" \
      org.opencontainers.image.version="0.2.0" \
      org.opencontainers.image.licenses="Apache-2.0"
USER authsvc
ENV BIND=0.0.0.0:8000 ADMIN_BIND=0.0.0.0:9000
EXPOSE 8000 9000
STOPSIGNAL SIGTERM
# Patient: Traefik asks each gate twice a second by itself, and this one only decides whether there is one at all.
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=6 \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9000/livez', timeout=2)"]
CMD ["gunicorn", "-c", "deploy/gunicorn.conf.py", "authsvc.asgi:application"]
