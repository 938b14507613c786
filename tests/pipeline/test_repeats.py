"""Repeats in real DVC: a seed more trains that seed alone, a seed less trains nothing."""

import json
import re

from tests.project import Project

CHEAP = ["metrics", "report"]


def repro_with(project: Project, repeats: list[int]) -> tuple[list[str], list[str]]:
    """`dvc exp run` as the docs tell it; returns stages that ran, and stages that came from the cache."""
    printed = project.run("dvc", "exp", "run", "-S", f"finetune.repeats={json.dumps(repeats)}").stdout
    ran = re.findall(r"Running stage '([\w@-]+)'", printed)
    return ran, re.findall(r"Stage '([\w@-]+)' is cached", printed)


def test_a_captioner_is_trained_again_alone(project: Project) -> None:
    before = project.json("metrics/caption.json")
    project.set("captions", repeats=[3])
    assert project.repro() == ["caption-repeat@3", *CHEAP]
    found = project.json("metrics/caption.json")
    assert list(found["by_seed"]) == ["0", "3"]
    assert {name: found[name] for name in before} == before
    assert not [path for path in (project.folder / ".checkpoints").iterdir() if path.name.startswith("captioner-")]
    project.set("captions", repeats=[])
    assert project.repro() == CHEAP
    assert project.json("metrics/caption.json") == before


def test_seeds_come_and_go(project: Project) -> None:
    before = project.json("metrics/evaluate.json")
    assert repro_with(project, [1]) == (["repeat@1", *CHEAP], [])
    assert repro_with(project, [1, 2]) == (["repeat@2", *CHEAP], [])
    evaluate = project.json("metrics/evaluate.json")
    assert list(evaluate["by_seed"]) == ["0", "1", "2"]
    assert {name: evaluate[name] for name in before} == before, "the first training is what it was"
    assert "head_mean.miou_over_seeds" in project.json("metrics/attention.json")
    project.commit("three trainings")

    assert repro_with(project, [2]) == (CHEAP, [])
    assert not (project.folder / "build/trainings/finetune/1").exists()
    assert list(project.json("metrics/evaluate.json")["by_seed"]) == ["0", "2"]
    assert project.changed_stages() == set()

    project.run("git", "checkout", "--quiet", "HEAD", "--", "params.yaml", "dvc.lock", "metrics", "plots")
    assert repro_with(project, [1, 2])[0] in ([], CHEAP), "seed 1 comes back from the cache"
    assert project.json("metrics/evaluate.json") == evaluate
    assert project.changed_stages() == set()

    assert repro_with(project, []) == (CHEAP, [])
    assert project.json("metrics/evaluate.json") == before
    statuses = [run["status"] for run in project.runs()]
    assert set(statuses) == {"FINISHED"}
