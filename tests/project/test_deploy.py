"""The files of `deploy/` are valid, say what the settings say, and give the service no more rights than it needs."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from compose_spec import PyCompose
from kubernetes_validate.utils import all_versions

from lince.serving.explanation_queue import DEADLINE_S
from lince.serving.settings import ServeSettings
from lince.serving.shutdown import LAST_RESORT_S

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
# With a line for each instruction.
CONTAINERFILE = (DEPLOY / "Containerfile").read_text(encoding="utf-8").replace("\\\n", "")
COMPOSE = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
NGINX = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
UNIT = (DEPLOY / "lince.service").read_text(encoding="utf-8")
CLIENTS = ROOT / ".venv" / "clients" / "bin" / "python"
KSERVE_PROGRAM = ROOT / "tests" / "end_to_end" / "clients" / "kserve_manifest.py"

DEFAULTS = ServeSettings()
USER = 65532


def documents(name: str) -> dict[str, dict[str, Any]]:
    """The objects of a file for Kubernetes, by kind."""
    text = (DEPLOY / name).read_text(encoding="utf-8")
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


DEPLOYMENT, SERVICE = documents("kubernetes.yaml")["Deployment"], documents("kubernetes.yaml")["Service"]
POD = DEPLOYMENT["spec"]["template"]["spec"]
[CONTAINER] = POD["containers"]
RUNTIME, INFERENCE_SERVICE = documents("kserve.yaml")["ServingRuntime"], documents("kserve.yaml")["InferenceService"]
[KSERVE_CONTAINER] = RUNTIME["spec"]["containers"]
[COMPOSED] = yaml.safe_load(COMPOSE)["services"].values()


def of_container(container: dict[str, Any]) -> dict[str, str]:
    """Its environment."""
    return {one["name"]: one["value"] for one in container["env"]}


def of_image() -> dict[str, str]:
    """The environment that `ENV` of the Containerfile sets."""
    [line] = re.findall(r"^ENV (.*)$", CONTAINERFILE, re.MULTILINE)
    return dict(word.split("=", 1) for word in shlex.split(line))


def of_unit(key: str) -> list[str]:
    """Values of a key of the systemd unit."""
    return re.findall(rf"^{key}=(.*)$", UNIT, re.MULTILINE)


ENVIRONMENTS = {
    "Containerfile": of_image(),
    "compose.yaml": COMPOSED["environment"],
    "kubernetes.yaml": of_container(CONTAINER),
    "kserve.yaml": of_container(KSERVE_CONTAINER),
    "lince.service": dict(word.split("=", 1) for word in of_unit("Environment")[0].split()),
}


@pytest.fixture(params=ENVIRONMENTS)
def settings(request: pytest.FixtureRequest) -> ServeSettings:
    """What the service reads where a file starts it."""
    given = ENVIRONMENTS[request.param].items()
    return ServeSettings(**{name.removeprefix("LINCE_").lower(): value for name, value in given if "LINCE" in name})


class TestValidity:
    """Each file is read by what reads it in production, or by its schema."""

    @pytest.mark.skipif(not shutil.which("hadolint"), reason="hadolint has no package for this system")
    def test_containerfile(self):
        """A linter for such files has nothing to say."""
        done = subprocess.run(["hadolint", DEPLOY / "Containerfile"], capture_output=True, text=True, check=False)
        assert (0, "") == (done.returncode, done.stdout)

    def test_compose(self):
        """It keeps to the Compose specification."""
        assert ["lince"] == PyCompose.from_yaml(COMPOSE).service_names()

    @pytest.mark.parametrize(("old", "new"), [("read_only:", "readonly:"), ("15s", "15x"), ("cap_drop:", "drop:")])
    def test_a_mistake_in_compose_is_found(self, old: str, new: str):
        """The check above can fail."""
        assert 1 == COMPOSE.count(old)
        with pytest.raises(ValueError, match=r"^services\.lince"):
            PyCompose.from_yaml(COMPOSE.replace(old, new))

    @pytest.mark.parametrize("version", [all_versions()[0], all_versions()[-1]])
    @pytest.mark.parametrize("kind", ["Deployment", "Service"])
    def test_kubernetes(self, kind: str, version: str):
        """It keeps to the strict schemas of the oldest and the newest version that there is a schema of."""
        kubernetes_validate.validate(documents("kubernetes.yaml")[kind], version, strict=True)

    def test_a_mistake_in_kubernetes_is_found(self):
        """The check above can fail: a key at a wrong place."""
        wrong = documents("kubernetes.yaml")["Deployment"]
        wrong["spec"]["template"]["spec"]["readOnlyRootFilesystem"] = True
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(wrong, all_versions()[-1], strict=True)

    def test_kserve(self):
        """Every key is one of KServe's own classes; a wrong one is found."""
        assert CLIENTS.exists(), "The clients' environment is missing: make .venv/clients/ready"
        wrong = documents("kserve.yaml")
        wrong["InferenceService"]["spec"]["predictor"]["model"]["protocolVersions"] = "v2"
        for found, expected in ((documents("kserve.yaml"), []), (wrong, ["spec.predictor.model.protocolVersions"])):
            done = subprocess.run(
                [CLIENTS, KSERVE_PROGRAM],
                input=json.dumps(list(found.values())),
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )
            assert done.returncode == 0, done.stderr
            assert expected == json.loads(done.stdout)

    @pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is missing (Debian: systemd)")
    def test_systemd(self, tmp_path: Path):
        """`systemd-analyze` verifies the unit, and finds it as hardened as a service with a network address can be."""
        path = tmp_path / "lince.service"
        path.write_text(UNIT.replace("/opt/lince/bin/lince", sys.executable), encoding="utf-8")
        for arguments in (["verify"], ["security", "--offline=true", "--threshold=20", "--no-pager"]):
            command = ["systemd-analyze", *arguments, path]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
            assert (0, "") == (done.returncode, done.stderr), done.stdout


class TestSettings:
    """What the files say of ports, limits and times is what the service does."""

    def test_names_and_values(self, settings: ServeSettings):
        """Every variable is a setting, and its value is valid; the service can be reached where it is to be."""
        assert settings.shutdown_s == DEFAULTS.shutdown_s

    @pytest.mark.parametrize("name", ["Containerfile", "kubernetes.yaml", "kserve.yaml"])
    def test_containers_listen_to_all(self, name: str):
        """Loopback of a container cannot be reached from outside."""
        assert "0.0.0.0" == ENVIRONMENTS[name]["LINCE_HOST"]

    def test_ports(self):
        """The port that the service listens on is the one that is opened, probed, scraped and proxied."""
        port = str(DEFAULTS.port)
        assert port == ENVIRONMENTS["Containerfile"]["LINCE_PORT"] == ENVIRONMENTS["lince.service"]["LINCE_PORT"]
        assert [port] == re.findall(r"^EXPOSE (\d+)$", CONTAINERFILE, re.MULTILINE)
        assert [f"127.0.0.1:{port}:{port}"] == COMPOSED["ports"]
        assert port == ENVIRONMENTS["kubernetes.yaml"]["LINCE_PORT"]
        assert [{"name": "http", "containerPort": DEFAULTS.port}] == CONTAINER["ports"]
        assert port == DEPLOYMENT["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"]
        assert {"http"} == {one["targetPort"] for one in SERVICE["spec"]["ports"]}
        assert f"server 127.0.0.1:{port};" in NGINX
        kserve = ENVIRONMENTS["kserve.yaml"]["LINCE_PORT"]
        assert [int(kserve)] == [one["containerPort"] for one in KSERVE_CONTAINER["ports"]]
        assert kserve == RUNTIME["spec"]["annotations"]["prometheus.kserve.io/port"]
        assert {int(kserve)} == {probe["httpGet"]["port"] for probe in probes(KSERVE_CONTAINER).values()}

    def test_probes_are_routes(self):
        """Liveness and readiness each have their own address."""
        paths = {name: probe["httpGet"]["path"] for name, probe in probes(CONTAINER).items()}
        assert {"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/livez"} == paths
        of_kserve = {name: probe["httpGet"]["path"] for name, probe in probes(KSERVE_CONTAINER).items()}
        assert {"readinessProbe": "/v2/health/ready", "livenessProbe": "/v2/health/live"} == of_kserve

    def test_stops_are_long_enough(self):
        """Whoever stops the service waits longer than it needs to answer what is under way."""
        needed_s = DEFAULTS.shutdown_s + LAST_RESORT_S
        assert int(COMPOSED["stop_grace_period"].removesuffix("s")) > needed_s
        assert int(of_unit("TimeoutStopSec")[0]) > needed_s
        [_, pause_s] = CONTAINER["lifecycle"]["preStop"]["exec"]["command"]
        assert POD["terminationGracePeriodSeconds"] > int(pause_s) + needed_s
        assert ["mixed"] == of_unit("KillMode")

    def test_nginx(self):
        """Its limit of a body is ours, its kept connections end before ours do, and it waits for the longest answer."""
        assert [str(DEFAULTS.max_body_bytes)] == re.findall(r"client_max_body_size (\d+);", NGINX)
        assert f"{DEFAULTS.max_body_bytes:,} bytes" in NGINX
        [keep_alive_s] = re.findall(r"^\s+keepalive_timeout (\d+)s;", NGINX, re.MULTILINE)
        assert int(keep_alive_s) < DEFAULTS.keep_alive_s
        assert f"LINCE_KEEP_ALIVE_S ({DEFAULTS.keep_alive_s})" in NGINX
        assert {f"{DEFAULTS.receive_timeout_s:g}"} == set(re.findall(r"client_\w+_timeout (\d+)s;", NGINX))
        assert int(*re.findall(r"proxy_read_timeout (\d+)s;", NGINX)) > DEADLINE_S

    def test_memory_of_workers(self):
        """Compose and systemd give each worker 300 MB, and what starts them 100."""
        needed = 300 * int(COMPOSED["environment"]["LINCE_WORKERS"]) + 100
        assert int(COMPOSED["mem_limit"].removesuffix("m")) >= needed
        assert int(of_unit("MemoryMax")[0].removesuffix("M")) >= needed

    def test_every_variable_in_a_comment_is_a_setting(self):
        """Names in comments, too, are those of settings."""
        names = {name.upper() for name in ServeSettings.model_fields}
        text = "".join(path.read_text(encoding="utf-8") for path in DEPLOY.rglob("*") if path.is_file())
        assert set(re.findall(r"LINCE_([A-Z0-9_]+)", text)) <= names


def probes(container: dict[str, Any]) -> dict[str, Any]:
    """Its probes by name."""
    return {name: value for name, value in container.items() if name.endswith("Probe")}


class TestRights:
    """Nothing runs as root, nothing is written but into /tmp, nothing gains rights."""

    def test_image(self):
        """The user is a number: Kubernetes cannot see of a name that it is not root."""
        assert [f"{USER}:{USER}"] == re.findall(r"^USER (.+)$", CONTAINERFILE, re.MULTILINE)

    def test_compose(self):
        """Read-only root, no capability, no new rights, limits of memory, processors and threads."""
        assert (True, ["ALL"]) == (COMPOSED["read_only"], COMPOSED["cap_drop"])
        assert ["no-new-privileges:true"] == COMPOSED["security_opt"]
        assert {"cpus", "mem_limit", "pids_limit"} <= COMPOSED.keys()
        assert ["/tmp"] == [one.partition(":")[0] for one in COMPOSED["tmpfs"]]

    @pytest.mark.parametrize("container", [CONTAINER, KSERVE_CONTAINER], ids=["kubernetes.yaml", "kserve.yaml"])
    def test_containers(self, container: dict[str, Any]):
        """Read-only root, no capability, no new rights, limits."""
        context = container["securityContext"]
        assert (True, False) == (context["readOnlyRootFilesystem"], context["allowPrivilegeEscalation"])
        assert {"drop": ["ALL"]} == context["capabilities"]
        assert {"cpu", "memory"} == container["resources"]["limits"].keys()

    def test_pods(self):
        """They do not run as root, have no token of the cluster, and no variable of another service."""
        assert (True, USER) == (POD["securityContext"]["runAsNonRoot"], POD["securityContext"]["runAsUser"])
        context = KSERVE_CONTAINER["securityContext"]
        assert (True, USER) == (context["runAsNonRoot"], context["runAsUser"])
        assert (False, False) == (POD["automountServiceAccountToken"], POD["enableServiceLinks"])
        assert ["/tmp"] == [one["mountPath"] for one in CONTAINER["volumeMounts"]]

    def test_service_and_pods_fit(self):
        """The Service finds the pods of the Deployment."""
        labels = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
        assert labels == SERVICE["spec"]["selector"] == DEPLOYMENT["spec"]["selector"]["matchLabels"]

    def test_kserve_parts_fit(self):
        """The InferenceService asks for the runtime, a format and a protocol that the runtime has."""
        model = INFERENCE_SERVICE["spec"]["predictor"]["model"]
        assert RUNTIME["metadata"]["name"] == model["runtime"]
        assert model["modelFormat"]["name"] in [one["name"] for one in RUNTIME["spec"]["supportedModelFormats"]]
        assert "v2" == model["protocolVersion"] in RUNTIME["spec"]["protocolVersions"]


class TestImage:
    """What the Containerfile copies and runs, as far as no engine is needed."""

    COPIED = re.findall(r"^COPY (?!--from)(.+) \S+$", CONTAINERFILE, re.MULTILINE)

    def test_copied_files_are_sent(self):
        """`.dockerignore` lets through what is copied, and no more."""
        lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        copied = {source for sources in self.COPIED for source in sources.split()}
        assert copied == {line.removeprefix("!") for line in lines if line.startswith("!")}
        assert "*" in lines

    def test_copied_files_make_the_wheel(self, tmp_path: Path):
        """The wheel is built from them alone; it holds the models and the page."""
        sources = tmp_path / "build"
        for source in (source for sources in self.COPIED for source in sources.split()):
            target = sources / source
            target.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copyfile
            copy(ROOT / source, target)
        [options] = re.findall(r"-m pip wheel (.+) -w dist \.", CONTAINERFILE)
        command = [sys.executable, "-m", "pip", "wheel", *options.split(), "-q", "--no-index", "-w", tmp_path, sources]
        subprocess.run(list(map(str, command)), check=True, capture_output=True, timeout=120)
        assert list(tmp_path.glob("lince-*.whl"))

    def test_locked_packages_alone(self):
        """Packages come from the lock with hashes; what builds is removed; no index is named."""
        installed, wheel = re.findall(r"pip install (.*?)(?: && |$)", CONTAINERFILE, re.MULTILINE)
        assert {"--require-hashes", "requirements/serve.txt"} <= set(shlex.split(installed))
        assert {"--no-deps", "dist/lince-*.whl"} <= set(shlex.split(wheel))
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        builders = {requirement.partition(">")[0] for requirement in project["dependency-groups"]["build"]}
        [removed] = re.findall(r"pip uninstall -y (.+)$", CONTAINERFILE, re.MULTILINE)
        assert builders | {"pip"} == set(removed.split())
        assert {"http://127.0.0.1:"} == set(re.findall(r"\w+://[^/' ]*", CONTAINERFILE))
        assert "index-url" not in CONTAINERFILE
