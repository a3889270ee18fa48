"""The benchmarks run, and find nothing lost: small, and nothing is said of how long it takes."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.benchmark

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


async def figures_of(name, *arguments):
    process = await asyncio.create_subprocess_exec(
        sys.executable, FOLDER / f"{name}.py", *arguments, "--json", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return json.loads(output)


@pytest.mark.timeout(300)  # it starts servers, and processes that import LangChain
async def test_herd_leaves_everything_of_each_run():
    figures = await figures_of(
        "herd",
        *("--agent", "scripted", "--schedules", "6", "--workers", "1"),
        *("--no-peers", "--no-ungrouped"),
    )

    assert figures["results"] == 6
    faults = {name: figures[name] for name in ("lost", "duplicated", "errors", "incomplete")}
    assert faults == {"lost": 0, "duplicated": 0, "errors": 0, "incomplete": 0}
    assert figures["ungrouped_runs_per_second"] is None
    assert figures["peers"] == []


@pytest.mark.timeout(300)  # as above
async def test_overhead_counts_each_way_of_running():
    figures = await figures_of("overhead", "--agents", "callable", "--runs", "6", "--settling", "0")

    assert [case["grouped"] for case in figures["cases"]] == [False, False, True]
    for case in figures["cases"]:
        assert case["runs"] == 6
        assert (case["lost"], case["incomplete"]) == (0, 0)
        assert case["writing_transactions_per_run"] > 0


@pytest.mark.timeout(300)  # as above
async def test_approvals_execute_each_yes_once():
    figures = await figures_of("approvals", "--runs", "4", "--entries", "100")

    assert [case["mode"] for case in figures["asking"]] == ["none", "queue", "suspend"]
    for case in figures["deciding"]:
        assert (case["executed"], case["lost"], case["doubled"]) == (4, 0, 0)
    assert [case["rules"] for case in figures["judging"]] == [0, 1, 10, 100, 500]


@pytest.mark.timeout(300)  # as above
async def test_cli_measures_each_command_against_the_floor():
    figures = await figures_of("cli", "--rounds", "1", "--commands", "limits show", "runs list")

    assert {one["command"] for one in figures["commands"]} == {"limits show", "runs list"}
    assert figures["worst_command"] == figures["commands"][0]["command"]
    assert figures["worst_ratio"] == max(one["ratio"] for one in figures["commands"])


@pytest.mark.timeout(300)  # as above
async def test_neighbours_lose_nobody_a_fire():
    figures = await figures_of(
        "neighbours", *("--samples", "4", "--people", "3", "--runs", "40", "--interval-ms", "200")
    )

    assert [beside["lost"] for beside in figures["beside"]] == [0, 0, 0]
    assert figures["worst_ratio"] > 0


@pytest.mark.timeout(300)  # as above
async def test_api_asks_rota_and_the_bare_route():
    figures = await figures_of(
        "api",
        *("--runs", "300", "--schedules", "20", "--notifications", "20"),
        *("--requests", "3", "--rounds", "1", "--seconds", "0.1", "--page", "3"),
    )

    assert figures["deep_page_number"] == 3
    assert figures["bare_list"]["requests_per_second"] > 0
    assert [case["times"]["samples"] for case in figures["rota"]] == [3] * 9
