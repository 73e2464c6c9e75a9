"""Where a gate's baseline is, and what the command line says is to become of it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pytest_iaside.errors import BaselineError, SettingsError
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.store import baselines as store
from pytest_iaside.store.proposals import propose, withdraw
from pytest_iaside.testing.current_test import CurrentTest
from pytest_iaside.testing.session import proposals_of, update_mode


@dataclass(frozen=True, kw_only=True)
class Place:
    """The baseline of one gate; nowhere, where the gate needs none."""

    path: Path | None = None
    owner: store.Owner | None = None
    """The test whose own it is; None of a baseline that the caller names, which is only read."""
    given: Measurement | None = None
    """A baseline that the caller hands over as it is."""
    mode: Literal["new", "changed", "all", "add"] | None = None
    """What --iaside-update says."""
    shown: str = ""
    """The baseline as people are told of it."""
    title: str = "baseline"
    accepts_drift: bool = False
    """Whether --iaside-accept-drift lets a baseline be replaced that the model drifted from."""
    accept: str = ""
    """The command that makes the baseline anew."""
    accept_drift: str = ""
    """The same where the model drifted from it."""
    proposals: Path | None = None
    """The folder of --iaside-propose: nothing is written beside the test then."""
    root: Path | None = None
    """Of the repository, as pytest knows it."""

    @property
    def nowhere(self) -> bool:
        return self.path is None and self.given is None

    def read(self) -> Measurement | None:
        """The baseline, None where one is to be written in its place; BaselineError without it."""
        if self.given is not None:
            return self.given
        assert self.path is not None
        if self.owner is None:
            return self._others(self.path)
        if not self.path.exists():
            if self.mode is None:
                raise BaselineError(
                    f"there is no baseline for this test yet ({self.shown}); create it with "
                    f"--iaside-update=new, look at it, and commit it\n    {self.accept}"
                )
            return None
        try:
            found = Measurement.load(self.path)
        except BaselineError as error:
            if self.mode in ("changed", "all"):
                return None
            raise self.advised(error) from None
        store.check_owner(self.path, self.owner)
        return found

    def write(self, measured: Measurement) -> None:
        """Make ``measured`` the test's own baseline."""
        assert self.path is not None and self.owner is not None
        measured.save(self.path, test=asdict(self.owner))

    def propose(self, measured: Measurement, verdict: str, summary: str) -> Path:
        """Write ``measured`` as the baseline that this one may become; where it is."""
        assert self.path is not None and self.owner is not None
        assert self.proposals is not None and self.root is not None
        test = asdict(self.owner)
        return propose(
            self.proposals,
            self.root,
            self.path,
            self.owner,
            lambda path: measured.save(path, test=test),
            fingerprint=measured.model.fingerprint,
            verdict=verdict,
            summary=summary,
        )

    def withdraw(self) -> None:
        """Remove what an earlier run proposed: it is of another model, and may be of none."""
        if None not in (self.path, self.owner, self.proposals, self.root):
            assert self.path is not None and self.proposals is not None and self.root is not None
            withdraw(self.proposals, self.root, self.path)

    def advised(self, error: BaselineError) -> BaselineError:
        """``error``, and the command that mends it."""
        advice = f"\nTo make a new baseline:\n    {self.accept}" if self.accept else ""
        return BaselineError(f"{error}{advice}")

    def _others(self, path: Path) -> Measurement:
        if not path.exists():
            how = f"the same assertion's measurement: comparison.candidate.save({str(path)!r})"
            if self.accept:
                how = f"measure(model, reference).save({str(path)!r}), or with\n    {self.accept}"
            raise BaselineError(f"there is no baseline at {path}; make one with {how}")
        return Measurement.load(path)


def locate(
    kind: str, baseline: str | Path | Measurement | None, test: CurrentTest | None, name: str | None
) -> Place:
    """The baseline that the caller names, or the test's own, unread; raises SettingsError."""
    if isinstance(baseline, Measurement):
        what = "profile" if isinstance(baseline, SpectralProfile) else "measurement"
        return Place(given=baseline, shown=f"the given {what} of {baseline.model.name}")
    if isinstance(baseline, (str, Path)):
        path = Path(baseline)
        shown = test.relative(path.absolute()) if test else str(baseline)
        command = f'iaside measure MODEL REFERENCE --output "{shown}"' if kind == "spectral" else ""
        return Place(path=path, shown=shown, accept=command)
    if baseline is not None:
        raise SettingsError(
            f"baseline is a {type(baseline).__name__}; expected the path of a saved one, or "
            "what was measured before"
        )
    if test is None:
        raise SettingsError(
            "no test is running (but a fixture, or the plugin is switched off), so there is no "
            "baseline of its own to compare with; call the assertion in the test itself, or pass "
            "baseline=, what was measured before or its path"
        )
    owner = store.Owner(test.node_id, name)
    path = store.path_for(test.item.path, owner)
    mode: Any = update_mode(test.config)
    adding = ("--iaside-update=add",) if mode == "add" else ()
    return Place(
        path=path,
        owner=owner,
        mode=mode,
        accepts_drift=bool(test.config.getoption("iaside_accept_drift")),
        shown=test.relative(path),
        accept=test.command(f"--iaside-update={'changed' if path.exists() else 'new'}"),
        accept_drift=test.command(*adding, "--iaside-accept-drift"),
        proposals=proposals_of(test.config),
        root=test.config.rootpath,
    )
