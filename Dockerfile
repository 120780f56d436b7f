# One image for gate, console, worker and setup; AUTHSVC_SERVES and the command decide which.
# Pin the base image to one you have checked: --build-arg BASE=python:3.13-slim@sha256:…
ARG BASE=python:3.13-slim

FROM ${BASE} AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
# A separate environment, without the base image's packages and without pip. This layer changes only with the lock file.
COPY requirements/service.txt requirements/otel.txt /tmp/
RUN python -m venv --without-pip /opt/venv \
    && pip --python /opt/venv/bin/python install --no-cache-dir --no-deps --require-hashes -r /tmp/service.txt
# For traces: --build-arg OTEL=1
ARG OTEL=
RUN if [ -n "$OTEL" ]; then pip --python /opt/venv/bin/python install --no-cache-dir --no-deps --require-hashes -r /tmp/otel.txt; fi

FROM ${BASE}
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PATH=/opt/venv/bin:$PATH
RUN groupadd --gid 10001 authsvc \
    && useradd --uid 10001 --gid authsvc --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin authsvc \
    # Mount points: a new volume takes the owner of the folder it covers.
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

# These values only let the settings load for collectstatic; no layer keeps them in its environment.
RUN SECRET_KEY=only-for-building-only-for-building KEY_PEPPER=only-for-building-only-for-building \
    DATABASE_URL=sqlite:////tmp/none REDIS_URL=redis://none python manage.py collectstatic --no-input -v 0

LABEL org.opencontainers.image.title="authsvc" \
      org.opencontainers.image.version="0.2.0" \
      org.opencontainers.image.licenses="Apache-2.0"
USER authsvc
ENV BIND=0.0.0.0:8000 ADMIN_BIND=0.0.0.0:9000
EXPOSE 8000 9000
STOPSIGNAL SIGTERM
# Tolerant: Traefik checks each gate twice a second itself; this only decides whether the container counts as running.
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=6 \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9000/livez', timeout=2)"]
CMD ["gunicorn", "-c", "deploy/gunicorn.conf.py", "authsvc.asgi:application"]
