"""The file that the type checkers read uses all that there is."""

import ast
from pathlib import Path

import project.fan_in
from project.fan_in.in_yaml import CONDITIONS

TREE = ast.parse(Path(__file__).with_name("public_api.py").read_text())


def test_every_exported_name_is_used():
    used = {node.id for node in ast.walk(TREE) if isinstance(node, ast.Name)}
    assert set(project.fan_in.__all__) <= used


def test_every_template_variable_is_used():
    used = {
        node.attr
        for node in ast.walk(TREE)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "template_vars"
    }
    assert used == set(CONDITIONS)
