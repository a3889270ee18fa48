"""Schedules over HTTP."""

from __future__ import annotations

from fastapi import APIRouter

from rota.api.answers import StrictRoute
from rota.api.schedules import editing, firing, many

router = APIRouter(tags=["schedules"], route_class=StrictRoute)
router.include_router(editing.router)
router.include_router(firing.router)
router.include_router(many.router)
