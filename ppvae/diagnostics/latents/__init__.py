"""Which latents are in use, what do they know, and does the prior fit them?"""

from ppvae.diagnostics.latents.activity import ActiveUnits, active_units, kl_per_dimension
from ppvae.diagnostics.latents.elbo_surgery import Surgery, surgery
from ppvae.diagnostics.latents.factor_scores import disentanglement
from ppvae.diagnostics.latents.label_probes import probes
from ppvae.diagnostics.latents.posterior_means import checked_dataset
from ppvae.diagnostics.latents.site_kl import kl_per_site

__all__ = [
    "ActiveUnits",
    "Surgery",
    "active_units",
    "checked_dataset",
    "disentanglement",
    "kl_per_dimension",
    "kl_per_site",
    "probes",
    "surgery",
]
