# The gate, the console and the worker: one image, told apart by AUTHSVC_SERVES and the command.
FROM python:3.13-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PATH=/opt/venv/bin:$PATH

# An environment of its own, so that nothing the base image brings is in the way.
COPY requirements/service.txt /tmp/
RUN python -m venv /opt/venv \
    && pip install --no-cache-dir --no-deps --require-hashes -r /tmp/service.txt \
    && rm /tmp/service.txt

RUN groupadd --gid 10001 authsvc && useradd --uid 10001 --gid authsvc --no-create-home --shell /usr/sbin/nologin authsvc
WORKDIR /srv
COPY manage.py ./
COPY authsvc authsvc
COPY accounts accounts
COPY quotas quotas
COPY gateway gateway
COPY deploy/gunicorn.conf.py deploy/catalogue.toml deploy/

# The values only let the settings load while the static files are gathered; they are in no layer's environment.
RUN SECRET_KEY=only-for-building-only-for-building KEY_PEPPER=only-for-building-only-for-building \
    DATABASE_URL=sqlite:////tmp/none REDIS_URL=redis://none python manage.py collectstatic --no-input

USER authsvc
ENV BIND=0.0.0.0:8000 ADMIN_BIND=0.0.0.0:9000
EXPOSE 8000 9000
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9000/livez', timeout=2)"]
CMD ["gunicorn", "-c", "deploy/gunicorn.conf.py", "authsvc.asgi:application"]
