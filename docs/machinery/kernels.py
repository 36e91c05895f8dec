"""How the kernels run that execute pages: the same for everybody who builds the site."""

from pathlib import Path

CONFIGURATION = """
c.HistoryManager.enabled = False
c.IPKernelApp.log_level = "ERROR"
c.IPKernelApp.matplotlib = "inline"
c.InlineBackend.rc = {"figure.dpi": 130}
"""


def environment(cache: Path) -> dict[str, str]:
    """Return the variables of kernels that take nothing from the user's own configuration.

    Figures are drawn in the page, and progress bars are not shown. Two pages are executed at once,
    each by one thread: two threads each would wait for each other most of the time.
    """
    profile = cache / "ipython" / "profile_default"
    profile.mkdir(parents=True, exist_ok=True)
    (profile / "ipython_kernel_config.py").write_text(CONFIGURATION.lstrip())
    return {
        "IPYTHONDIR": str(profile.parent),
        "OMP_NUM_THREADS": "1",
        "TQDM_DISABLE": "1",
        "PYTHONWARNINGS": "ignore:IProgress not found",  # of the widgets of progress bars
    }
