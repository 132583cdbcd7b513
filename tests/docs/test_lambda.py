"""The page of the Lambda function: its templates pass cfn-lint, its settings are those that the function reads, and
the package that its commands make is one that works."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from cfnlint.api import lint
from cfnlint.core import get_rules

from milepost import aws_lambda

PAGE = (Path(__file__).parents[2] / "docs" / "lambda.md").read_text("utf-8")
BY_QUEUE, BY_RULE = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
SOURCE = """  EventSourceName:
    Type: String
    Description: The partner event source, and the bus of its name.
Resources:
"""


@pytest.mark.parametrize(
    "template",
    [BY_QUEUE, BY_QUEUE.replace("Resources:\n", SOURCE) + BY_RULE.removeprefix("Resources:\n")],
    ids=["queue", "rule"],
)
def test_cfn_lint_has_nothing_to_say(template: str) -> None:
    rules = get_rules([], [], ["I"])
    assert [str(match) for match in lint(template, rules, ["us-east-1", "eu-west-1"])] == []


def test_the_settings_of_the_page_are_those_of_the_function() -> None:
    read = set(re.findall(r'"(MILEPOST_\w+)"', Path(aws_lambda.__file__).read_text("utf-8")))
    settings = PAGE[PAGE.index("## Settings") : PAGE.index("## Packaging")]
    assert set(re.findall(r"MILEPOST_\w+", settings)) == read


def test_the_batch_is_answered_in_part_and_the_visibility_fits_the_timeout() -> None:
    assert "FunctionResponseTypes: [ReportBatchItemFailures]" in BY_QUEUE
    (timeout,) = re.findall(r"Timeout: (\d+)", BY_QUEUE)
    (minutes,) = re.findall(r"\((\d+) minutes here\)", PAGE)
    assert int(minutes) * 60 == 6 * int(timeout)


def test_the_package_of_the_page_holds_the_handler_and_needs_nothing_else(tmp_path: Path) -> None:
    packaging = PAGE[PAGE.index("## Packaging") :]
    copy, pack, _ = re.findall(r"```sh\n(.*?)```", packaging, re.DOTALL)[0].splitlines()
    for command in (copy, pack):
        assert command.startswith("python ")
        line = command.replace("python", f'"{sys.executable}"', 1)
        subprocess.run(line, shell=True, cwd=tmp_path, check=True, capture_output=True)
    with zipfile.ZipFile(tmp_path / "milepost-lambda.zip") as package:
        assert package.namelist() == ["aws_lambda.py"]
    (handler,) = re.findall(r"Handler: aws_lambda\.(\w+)", BY_QUEUE)
    program = f"import sys; sys.path.insert(0, 'milepost-lambda.zip'); from aws_lambda import {handler}"
    subprocess.run([sys.executable, "-I", "-S", "-c", program], cwd=tmp_path, check=True)
