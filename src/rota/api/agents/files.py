"""What a person set up as files, over HTTP: the same as `rota export` and `rota apply`."""

from __future__ import annotations

from io import BytesIO
from typing import Annotated, Final
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from fastapi import APIRouter, Body, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from rota.api.answers import StrictRoute, answer
from rota.api.callers import Manager, Reader, Scope, Services, require_scope
from rota.services.agent_files.file_sets import MOST_FILES, RULES
from rota.shown.files import FilesAppliedShown, FileSetShown, files_applied_json

router = APIRouter(prefix="/files", tags=["files"], route_class=StrictRoute)

_ZIP: Final = "application/zip"
_SMALL: Final = {"agents/small.yaml": "name: small\nmodel: openai:gpt-5-mini\n"}
_EXAMPLE: Final = {
    "small": {
        "summary": "What one agent would change",
        "value": {"files": _SMALL, "dry_run": True, "diff": True},
    }
}


class FilesAsked(BaseModel):
    """Files to apply, by their names as in an export."""

    model_config = ConfigDict(extra="forbid", strict=True)

    files: dict[str, str] = Field(min_length=1, max_length=MOST_FILES)
    diff: bool = Field(False, description="Answer diffs, too.")
    dry_run: bool = Field(False, description="Only say what would change.")
    prune: bool = Field(
        False,
        description="Remove what no file names: agents with their schedules, calendars and rules. "
        "What there is no file for at all stays.",
    )
    force: bool = Field(
        False, description="Take a file although somebody changed the same thing here."
    )


@router.get(
    "",
    response_model=FileSetShown,
    responses={
        200: {
            "content": {
                "application/json": {"example": {"files": _SMALL, "left_out": []}},
                _ZIP: {"schema": {"type": "string", "format": "binary"}},
            }
        }
    },
)
async def export_files(me: Reader, app: Services, request: Request) -> Response:
    """Return your agents with their schedules, calendars, rules and settings, as files.

    As JSON, or as a zip archive for `Accept: application/zip`. Secrets are in none.
    """
    made = await app.file_sets.export(me.user_id)
    if _ZIP not in request.headers.get("accept", ""):
        return answer(made)
    packed = BytesIO()
    with ZipFile(packed, "w", ZIP_DEFLATED) as archive:
        for name, text in made.files.items():
            archive.writestr(ZipInfo(name), text)  # without a time: the same each time
    headers = {"Content-Disposition": 'attachment; filename="rota-files.zip"'}
    return Response(packed.getvalue(), 200, headers, _ZIP)


@router.post("/apply", response_model=FilesAppliedShown)
async def apply_files(
    me: Manager, app: Services, body: Annotated[FilesAsked, Body(openapi_examples=_EXAMPLE)]
) -> Response:
    """Change your agents, schedules, calendars, rules and settings to what files say.

    All of it or nothing. 409 where a thing and its file both changed since the export. With
    `rules.yaml` it takes the scope `decide`, too, and with `diff` the scope `read`. Scripts of
    agents are changed by operators only.
    """
    if RULES in body.files:
        require_scope(me, Scope.DECIDE)
    if body.diff:  # it shows what there is
        require_scope(me, Scope.READ)
    applied = await app.file_sets.apply(
        me.user_id,
        body.files,
        is_operator=me.is_operator,
        prune=body.prune,
        force=body.force,
        is_rehearsal=body.dry_run,
    )
    return answer(files_applied_json(applied, with_diffs=body.diff))
