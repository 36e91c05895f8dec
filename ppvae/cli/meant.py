"""What others call our options and classes, so that a sentence can name ours."""

import difflib
import re
from collections.abc import Iterable, Mapping

# Those of classes and datasets stand here since looking them up needs torch.
_OPTIONS = {
    "optimizer.lr": "lr learning_rate learning_rate_init",
    "optimizer.weight_decay": "weight_decay l2",
    "optimizer": "opt optim solver",
    "schedule": "scheduler lr_scheduler lr_schedule",
    "network.width": "width n_hidden hidden hidden_dim hidden_size hidden_units units",
    "network.depth": "depth n_layers num_layers layers",
    "network MLP --network.hidden": "hidden_dims hidden_sizes hidden_layers hidden_layer_sizes",
    "network.activation": "activation nonlinearity",
    "network": "encoder decoder architecture arch net backbone",
    "latent": "latents latent_dim latent_dims latent_size latent_dimension latent_dimensions "
    "n_latent n_latents num_latents z z_dim dim_z n_components embedding_dim code_size bottleneck",
    "likelihood": "gene_likelihood loss distribution reconstruction recon_loss family",
    "kl_weight": "beta kl kld_weight kl_coef kl_coeff",
    "epochs": "max_epochs num_epochs n_epochs epoch num_train_epochs nb_epochs",
    "steps": "max_steps num_steps n_steps max_iter n_iter iterations num_iterations",
    "batch_size": "batch bs batchsize train_batch_size",
    "clip_norm": "clip grad_clip gradient_clip_val max_grad_norm clip_grad_norm max_norm",
    "patience": "early_stopping early_stop early_stopping_patience n_iter_no_change",
    "seed": "random_state random_seed rng seed_everything",
    "device cuda": "gpu gpus cuda use_gpu use_cuda",
    "device cpu": "cpu no_cuda no_gpu",
    "device": "accelerator devices",
    "folder": "out output outdir output_dir save_dir log_dir logdir default_root_dir run_dir",
    "resume": "ckpt_path checkpoint resume_from from_checkpoint",
    "overwrite true": "force exist_ok",
    "config": "cfg conf config_file",
    "figures": "plots plot",
    "figures false": "no_figures no_plots",
    "n": "num_samples n_samples samples count size",
    "objective.num_particles": "particles num_particles",
    "label": "target target_column labels label_column label_col y class",
    "id": "index index_col id_column ids",
    "missing": "na_values na nan",
    "types": "dtypes dtype column_types",
    "data.test": "test_size test_fraction test_split",
    "data.validation": "validation_size val_size validation_split val_split validation_fraction",
}
_CLASSES = {
    "network": {
        "MLP": "dense fc fullyconnected feedforward",
        "ResidualMLP": "resnet residual default",
    },
    "prior": {
        "StandardNormal": "gaussian normal isotropic unitnormal",
        "NormalMixture": "mog gmm mixture gaussianmixture",
        "FlowPrior": "flow realnvp maf iaf normalizingflow",
        "StudentT": "t studentst",
        "UniformSphere": "sphere vonmisesfisher vmf hyperspherical",
    },
    "likelihood": {
        "Normal": "gaussian mse mseloss l2 squared",
        "Bernoulli": "bce bceloss binarycrossentropy binary",
        "Categorical": "softmax crossentropy crossentropyloss onehotcategorical",
        "NegativeBinomial": "nb negbin",
        "ZeroInflatedNegativeBinomial": "zinb zeroinflated",
        "StudentT": "t studentst robust laplace l1",
        "ContinuousBernoulli": "cb",
        "DiscretizedLogisticMixture": "logistic logisticmixture",
        "LogNormal": "gamma",
    },
    "posterior": {
        "DiagonalNormal": "gaussian normal diag meanfield independentnormal",
        "FullRankNormal": "multivariatenormal mvn fullcovariance",
        "LowRankNormal": "lowrankmultivariatenormal",
        "FlowPosterior": "flow iaf maf realnvp normalizingflow",
        "NormalMixture": "mixture mog gmm",
        "PowerSpherical": "vonmisesfisher vmf sphere hyperspherical",
    },
    "objective": {
        "Trace_ELBO": "elbo vae",
        "ImportanceWeighted_ELBO": "iwae iw iwelbo",
        "PartiallyImportanceWeighted_ELBO": "piwae",
        "CombinedImportanceWeighted_ELBO": "ciwae",
        "MaximumMeanDiscrepancy_ELBO": "mmd wae infovae",
        "TotalCorrelation_ELBO": "tcvae betatcvae btcvae factorvae",
        "StickingTheLanding_ELBO": "stl",
        "VariationalRenyi_ELBO": "renyi vr",
    },
    "schedule": {
        "CosineAnnealingLR": "cosine cosinedecay",
        "OneCycleLR": "superconvergence",
        "ReduceLROnPlateau": "plateau reduceonplateau",
        "ExponentialLR": "exponentialdecay",
        "StepLR": "steps",
    },
    "kl_weight": {
        "LinearWarmup": "warmup annealing anneal",
        "CyclicWarmup": "cyclical cycle",
    },
}


def _by_word(names: Mapping[str, str]) -> dict[str, str]:
    return {word: name for name, words in names.items() for word in words.split()}


OPTIONS = _by_word(_OPTIONS)
"""Our options by the word that others use, in small letters and with underscores."""

CLASSES = {option: _by_word(names) for option, names in _CLASSES.items()}
"""Our classes by the option, then by the word in small letters without other characters."""

OF_DATA = ("label", "id", "types", "schema", "missing", "header", "standardize")
"""Options of a dataset that may be given without `data.` before them."""


def option_meant(word: str) -> str | None:
    """Return the option that others call by a word.

    Example:
        >>> option_meant("Learning-Rate"), option_meant("batch-size")
        ('optimizer.lr', 'batch_size')
    """
    plain = word.replace("-", "_").lower()
    return OPTIONS.get(plain, plain if plain != word else None)


def class_meant(word: str, names: Iterable[str], option: str = "") -> str | None:
    """Return the class of some names that others call by a word, or whose name is like it.

    Example:
        >>> class_meant("FullRank", ["DiagonalNormal", "FullRankNormal"])
        'FullRankNormal'
        >>> class_meant("MSE", ["Bernoulli", "Normal"], "likelihood")
        'Normal'
    """
    plain = {_plain(name): name for name in names}
    asked = _plain(word)
    named = CLASSES.get(option, {}).get(asked)
    if named in plain.values():
        return named
    begun = [name for text, name in plain.items() if len(asked) > 2 and text.startswith(asked)]
    if begun:
        return min(begun, key=len)
    near = difflib.get_close_matches(asked, plain, n=1)
    return plain[near[0]] if near else None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
