"""Answers for rows, as tables: latents, scores, missing cells, reconstructions, new rows."""

from ppvae.answers.comparison import check_same_data, compare, verdict
from ppvae.answers.encoding import encode, encode_draws
from ppvae.answers.files import STDOUT, check_output, write_draws, write_table
from ppvae.answers.imputation import Imputed, impute
from ppvae.answers.interpolation import interpolate
from ppvae.answers.new_rows import new_rows
from ppvae.answers.reconstruction import reconstruct
from ppvae.answers.refined_rows import RefinedRows, refine_rows
from ppvae.answers.rows import Rows, rows_of
from ppvae.answers.sampling import draw_rows, sample
from ppvae.answers.scores import score
from ppvae.answers.screens import shown_cells, shown_comparison, shown_scores

__all__ = [
    "STDOUT",
    "Imputed",
    "RefinedRows",
    "Rows",
    "check_output",
    "check_same_data",
    "compare",
    "draw_rows",
    "encode",
    "encode_draws",
    "impute",
    "interpolate",
    "new_rows",
    "reconstruct",
    "refine_rows",
    "rows_of",
    "sample",
    "score",
    "shown_cells",
    "shown_comparison",
    "shown_scores",
    "verdict",
    "write_draws",
    "write_table",
]
