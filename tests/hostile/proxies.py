"""Real proxies before a service, each with the configuration that its manual shows for an upstream."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.service.serving import free_port
from tests.waiting import wait_until

# `make proxies` installs those that are Python packages; nginx and HAProxy are Debian's.
ENVIRONMENT: Final = Path(__file__).parents[2] / ".venv-proxies" / "bin"

NGINX: Final = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; scgi_temp_path {folder}/scgi; uwsgi_temp_path {folder}/uwsgi;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  upstream service {{ server 127.0.0.1:{service}; keepalive 16; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://service; proxy_http_version 1.1; proxy_set_header Host $host;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;
    }}
  }}
}}
"""
HAPROXY: Final = """
global
  maxconn 500
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend front
  bind 127.0.0.1:{port}
  default_backend back
backend back
  http-reuse always
  server service 127.0.0.1:{service}
"""
CADDY: Final = """
{{
  admin off
  auto_https off
}}
:{port} {{
  bind 127.0.0.1
  reverse_proxy 127.0.0.1:{service}
}}
"""
TRAEFIK: Final = """
global: {{checkNewVersion: false, sendAnonymousUsage: false}}
entryPoints: {{web: {{address: "127.0.0.1:{port}"}}}}
providers: {{file: {{filename: {folder}/routes.yaml}}}}
"""
TRAEFIK_ROUTES: Final = """
http:
  routers: {{all: {{rule: "PathPrefix(`/`)", service: service}}}}
  services: {{service: {{loadBalancer: {{servers: [{{url: "http://127.0.0.1:{service}"}}]}}}}}}
"""
ENVOY: Final = """
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          upgrade_configs: [{{upgrade_type: websocket}}]
          route_config:
            virtual_hosts:
            - {{name: all, domains: ["*"], routes: [{{match: {{prefix: "/"}}, route: {{cluster: service}}}}]}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: service
    type: STATIC
    load_assignment:
      cluster_name: service
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {service}}}}}}}
"""


@dataclass(frozen=True)
class Proxy:
    """One proxy: its program, its files by name, and the command that runs it in a folder."""

    name: str
    program: str
    files: dict[str, str]
    command: Callable[[str, Path], list[str]]

    def __str__(self) -> str:
        return self.name

    def find(self) -> str:
        """The program's path; the test is skipped where it is not installed."""
        path = shutil.which(self.program, path=f"{ENVIRONMENT}{os.pathsep}{os.environ['PATH']}{os.pathsep}/usr/sbin")
        if path is None:
            pytest.skip(f"{self.program} is not installed: `make proxies`, and root for Debian's packages")
        return path


PROXIES: Final = (
    Proxy("nginx", "nginx", {"nginx.conf": NGINX}, lambda path, home: [path, "-c", str(home / "nginx.conf")]),
    Proxy("haproxy", "haproxy", {"haproxy.cfg": HAPROXY}, lambda path, home: [path, "-f", str(home / "haproxy.cfg")]),
    Proxy(
        "caddy",
        "caddy",
        {"Caddyfile": CADDY},
        lambda path, home: [path, "run", "--adapter", "caddyfile", "--config", str(home / "Caddyfile")],
    ),
    Proxy(
        "traefik",
        "traefik",
        {"traefik.yaml": TRAEFIK, "routes.yaml": TRAEFIK_ROUTES},
        lambda path, home: [path, f"--configfile={home}/traefik.yaml"],
    ),
    Proxy(
        "envoy",
        "envoy",
        {"envoy.yaml": ENVOY},
        lambda path, home: [path, "--config-path", f"{home}/envoy.yaml", "--use-dynamic-base-id", "--log-level", "off"],
    ),
)


@contextmanager
def proxied(proxy: Proxy, service: int, folder: Path) -> Iterator[int]:
    """The port of a proxy before the service on that port, until the end of the block."""
    program, port = proxy.find(), free_port()
    home = folder / proxy.name
    home.mkdir()
    for name, text in proxy.files.items():
        (home / name).write_text(text.format(folder=home, port=port, service=service))
    surroundings = {**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home), "XDG_DATA_HOME": str(home)}
    with (home / "output.log").open("wb") as output:
        process = subprocess.Popen(
            proxy.command(program, home), cwd=home, env=surroundings, stdout=output, stderr=output
        )
    try:
        wait_until(lambda: _passes_on(port), 60, every=0.1)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def _passes_on(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/livez", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False
