"""What `doctor` says about DVC's default remote."""

import shutil
import socket
from importlib.util import find_spec

import pytest

from flows.cli.check_remote import remote
from flows.dvc import remote as dvc_remote
from tests.servers import require
from tests.workspaces import free_port

pytestmark = pytest.mark.slow


def test_doctor_names_what_is_wrong_with_a_remote_in_one_sentence(toy, tmp_path):
    def found():
        return [(each.status.name, each.what) for each in remote(toy.root)]

    assert found() == []
    toy.dvc("repro", "first")
    toy.dvc("remote", "add", "--default", "storage", str(tmp_path / "storage"))
    assert found() == [("WARNING", "DVC remote storage: it lacks 1 outputs of this workspace")]
    toy.dvc("push", "first")
    assert found() == [("OK", "DVC remote storage: it has all outputs")]
    shutil.rmtree(toy.root / ".dvc/cache/files")
    shutil.rmtree(tmp_path / "storage/files")
    lost = "DVC remote storage: 1 outputs exist neither there nor on this machine"
    assert found() == [("WARNING", lost)]


@pytest.mark.services
def test_doctor_waits_only_seconds_for_a_remote(toy, monkeypatch):
    toy.dvc("repro", "first")

    def fault(url):
        toy.dvc("remote", "add", "--default", "--force", "storage", url)
        ((found),) = remote(toy.root)
        assert found.status.name == "WARNING"
        return found.what.removeprefix("DVC remote storage: it cannot be used: ")

    assert "Connection refused" in fault(f"http://127.0.0.1:{free_port()}/storage")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert fault(f"http://127.0.0.1:{port}/storage") == "no answer within 2 s"
    monkeypatch.setattr(dvc_remote, "PATIENCE_S", 0.1)
    slow = "no answer within 0.1 s; `dvc status --cloud` waits longer"
    assert fault(str(toy.root / "storage")) == slow


@pytest.mark.services
def test_doctor_names_a_remote_that_does_not_answer(toy):
    require(find_spec("dvc_ssh"), "dvc-ssh")
    toy.dvc("repro", "first")
    url = f"ssh://someone@127.0.0.1:{free_port()}/storage"
    toy.dvc("remote", "add", "--default", "storage", url)
    ((found),) = remote(toy.root)
    assert found.status.name == "WARNING"
    assert found.what.startswith("DVC remote storage: it cannot be used: ")
    assert "\n" not in found.what
