"""The container's health check against real servers."""

import http.server
import subprocess
import sys
import threading

import pytest


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(self.path[1:]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def check(*arguments):
    command = [sys.executable, "-m", "fedpriv_common.health", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_success_is_silent(address):
    answer = check(f"{address}/204")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


@pytest.mark.parametrize("path", ["404", "503"])
def test_a_bad_answer_is_told_in_one_line(address, path):
    answer = check(f"{address}/{path}")
    assert answer.returncode == 1
    assert path in answer.stderr
    assert answer.stderr.count("\n") == 1


def test_nobody_there_and_a_missing_certificate_are_told_alike():
    for arguments in (("http://127.0.0.1:9/",), ("https://127.0.0.1:9/", "/nowhere.pem")):
        answer = check(*arguments)
        assert answer.returncode == 1
        assert answer.stderr.startswith(f"{arguments[0]}: ")


def test_nothing_but_the_standard_library_is_loaded():
    code = "import sys, fedpriv_common.health; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    foreign = set(loaded) - set(sys.stdlib_module_names) - {"fedpriv_common", "__main__"}
    assert not {name for name in foreign if not name.startswith(("_", "sitecustomize"))}, foreign
