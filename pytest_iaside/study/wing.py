"""The wing study: the commands that measure many models against each other."""

from pytest_iaside.report.wings import Wing
from pytest_iaside.study import command, rank

WING = Wing(name="study", commands=(command, rank))
