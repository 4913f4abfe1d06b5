"""Where CI is set, nothing is skipped for want of anything; the reasons that count are few."""

from __future__ import annotations

from pathlib import Path

import pytest
from loading import write
from nested import run_pytest

ROOT = Path(__file__).parent.parent

TESTS = """\
    import sys
    import pytest

    def test_an_interpreter():
        pytest.skip("no python 3.8 on this machine")

    @pytest.mark.skip("no python 3.6 here")
    def test_another():
        pass

    def test_a_package():
        pytest.importorskip("no_such_package_anywhere")

    @pytest.fixture
    def right():
        pytest.skip("only root can become somebody else")

    def test_a_right(right):
        pass

    @pytest.mark.skipif(True, reason="forkservers need Linux")
    def test_a_system():
        pass

    @pytest.mark.skip("no python 3.14 here")
    def test_what_is_not_promised():
        pass

    @pytest.mark.xfail(reason="known")
    def test_what_is_known_to_fail():
        assert False

    def test_all_is_there():
        pass
    """


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variables", "outcome", "status"),
    [
        ({"CI": "true"}, "2 failed, 1 passed, 2 skipped, 1 xfailed, 2 errors", 1),
        ({"CI": ""}, "1 passed, 6 skipped, 1 xfailed", 0),
    ],
)
def test_a_skip_in_ci_is_a_failure(tmp_path, variables, outcome, status):
    write(tmp_path, {"test_some.py": TESTS})
    done = run_pytest(tmp_path, "test_some.py", **variables)
    assert outcome in done.stdout, done.stdout + done.stderr
    assert done.returncode == status
    if status:
        assert "no python 3.8 on this machine, and CI is set: install it" in done.stdout


@pytest.mark.slow
def test_what_passes_only_when_it_is_run_again_is_named(tmp_path):
    test = """\
        from pathlib import Path

        def test_flaky():
            been = Path("been").exists()
            Path("been").touch()
            assert been

        def test_wrong():
            assert False
        """
    write(tmp_path, {"test_some.py": test})
    named = tmp_path / "named"
    done = run_pytest(tmp_path, "test_some.py", "--reruns", "1", WS_FLAKY=str(named))
    assert "1 failed, 1 passed, 2 rerun" in done.stdout, done.stdout + done.stderr
    assert named.read_text() == "test_some.py::test_flaky\n"


@pytest.mark.slow
def test_a_test_that_hangs_fails_when_it_is_run_again_too(tmp_path):
    test = """\
        import time

        def test_hangs():
            time.sleep(1000)

        def test_right():
            pass
        """
    write(tmp_path, {"test_some.py": test})
    done = run_pytest(tmp_path, "test_some.py", "--reruns", "1", "--timeout", "1")
    assert "1 failed, 1 passed, 1 rerun" in done.stdout, done.stdout + done.stderr


@pytest.mark.slow
def test_a_test_that_no_timeout_ends_ends_its_process_and_the_others_go_on(tmp_path):
    test = """\
        import signal, time

        def test_hangs():
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
            time.sleep(1000)

        def test_right():
            pass
        """
    write(tmp_path, {"test_some.py": test})
    done = run_pytest(tmp_path, "test_some.py", "-n", "1", "--timeout", "1")
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "in test_hangs" in done.stderr
