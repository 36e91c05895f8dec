"""One HTML file about a pair or about several runs, the verdict first."""

from ppvae.reports.page.writing import write_page, write_page_of_runs

__all__ = ["write_page", "write_page_of_runs"]
