"""The front door: webhooks, streams and a REST API over HTTP. Needs the extra ``server``.

Alone: ``outlive serve module``. In an app of yours: :func:`install` for FastAPI and Starlette, :func:`wrap` for any other ASGI app.
"""

from outlive.http.app import create_app
from outlive.http.auth import ApiKeys, Auth, Caller, Role
from outlive.http.mounting import install, wrap

__all__ = ["ApiKeys", "Auth", "Caller", "Role", "create_app", "install", "wrap"]
