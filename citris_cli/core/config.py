"""What the models are configured with: sizes and losses, each with its default, its bounds and a line of help.

The options of the commands are made of these fields, so nothing heavy is imported here. A field made by
:func:`setting` is an option; any other follows from the data.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

#: Most channels of a frame.
MOST_CHANNELS = 8
#: Frame widths that the networks take, in pixels; 32, 64 and 128 are the published ones.
WIDTHS = range(32, 257, 16)
#: The same in words.
WIDTHS_TOLD = f"a multiple of {WIDTHS.step} from {WIDTHS.start} to {WIDTHS[-1]}"
#: Sides of the pixel blocks that the networks fold into channels.
PATCHES = (1, 2, 4)
#: Frame width of the small pair of networks of CITRIS-VAE.
SMALL_WIDTH = 32
#: Pairs of networks of CITRIS-VAE.
NETWORKS = ("pyramid", "small")
#: Most Gaussians of a mixture.
MOST_COMPONENTS = 16
#: Ways to learn a graph of effects within a step.
GRAPH_LEARNING = ("enco", "notears")
#: Forms of the regulariser that moves latents into psi(0).
REGULARISER_FORMS = ("share", "price")


def setting(
    default: Any,
    help: str,
    *,
    least: float | None = None,
    most: float | None = None,
    choices: Sequence[str | int] = (),
    off: str = "",
    shown: str = "",
    kw_only: bool = False,
) -> Any:
    """A dataclass field that the user may set.

    Args:
        default: its value unless a preset or the user says otherwise.
        help: one line for the help page.
        least, most: bounds of a number.
        choices: what a text or a number may be.
        off: of a flag, the name of the option that says no, without dashes; ``no-…`` if empty.
        shown: what the help page shows as default where presets do not tell.
        kw_only: whether it is given by name alone in Python.
    """
    said = {"help": help, "least": least, "most": most, "choices": tuple(choices), "off": off, "shown": shown}
    return dataclasses.field(default=default, metadata=said, kw_only=kw_only)


def size(default: int, *, least: int = 1, most: int | None = None, multiple: int = 1) -> Any:
    """A dataclass field that follows from the data.

    Args:
        default: its value where nothing says otherwise.
        least, most: its bounds.
        multiple: of which it is a multiple.
    """
    return dataclasses.field(default=default, metadata={"least": least, "most": most, "multiple": multiple})


def frame_width() -> Any:
    """A dataclass field for the frame width, one of :data:`WIDTHS`."""
    return size(64, least=WIDTHS.start, most=WIDTHS[-1], multiple=WIDTHS.step)


def patch_side() -> Any:
    """A dataclass field for the side of the blocks that are folded into channels, one of :data:`PATCHES`."""
    told = "Side of the pixel blocks that are folded into channels: 1 as published; 2 and 4 are faster."
    return setting(1, told, least=PATCHES[0], most=PATCHES[-1], choices=PATCHES)


def require_within_bounds(config: Any) -> None:
    """Refuse a configuration with a value that its field does not allow.

    Raises:
        ValueError: a value outside its bounds, or not among its choices.
    """
    for field in dataclasses.fields(config):
        value, said = getattr(config, field.name), field.metadata
        if dataclasses.is_dataclass(value):
            require_within_bounds(value)
        elif said.get("choices") and value not in said["choices"]:
            raise ValueError(f"{field.name} is {value!r}; it can be {' or '.join(map(str, said['choices']))}")
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{field.name} is {value}; it must be a finite number")
        elif said.get("least") is not None and value < said["least"]:
            raise ValueError(f"{field.name} is {value}; it must be at least {said['least']}")
        elif said.get("most") is not None and value > said["most"]:
            raise ValueError(f"{field.name} is {value}; it must be at most {said['most']}")
        elif said.get("multiple", 1) > 1 and value % said["multiple"]:
            raise ValueError(f"{field.name} is {value}; it must be a multiple of {said['multiple']}")


@dataclass(frozen=True)
class AutoencoderConfig:
    """Sizes and loss of the autoencoder; the defaults are the published ones.

    Attributes:
        width: frame width and height in pixels, one of :data:`WIDTHS`.
        latents: number of latents M.
        channels: channels c of the convolutional stages at the finest grid.
        decoder_blocks: residual blocks a decoder stage.
        patch: side of the pixel blocks folded into channels: 1 published, 2 a quarter of the work, 4 less again.
        growth: factor on the channels where the grid halves: 1 published, 2 the same work on every grid.
        noise: standard deviation sigma of the noise on the latents while training.
        latent_penalty: lambda, weight of ``mean(z^2)``; it keeps the latents from growing away from the noise.
        image_channels: channels of a frame, 1 to 8; 3 of an RGB one.
        grey_latents: how many of the latents come from a network that sees no colours; a teacher brings them.
    """

    width: int = frame_width()
    latents: int = setting(32, "Number of latents of a frame.", least=1)
    channels: int = setting(64, "Channels in every convolutional stage.", least=1)
    decoder_blocks: int = setting(2, "Residual blocks per decoder stage.", least=1)
    patch: int = patch_side()
    growth: int = setting(1, "Factor on the channels where the grid halves: 1 as published.", least=1, most=2)
    noise: float = setting(0.05, "Standard deviation of the noise on the latents during training.", least=0)
    latent_penalty: float = setting(1e-5, "Weight of the penalty on the mean squared latent.", least=0)
    image_channels: int = size(3, most=MOST_CHANNELS)
    grey_latents: int = size(0, least=0)


@dataclass(frozen=True)
class PriorConfig:
    """What a transition prior is configured with; every prior has a dataclass of its own.

    Attributes:
        name: what the prior is called, in files and after ``--prior``.
    """

    name: ClassVar[str]


@dataclass(frozen=True)
class CitrisPriorConfig(PriorConfig):
    """What CITRIS's own priors have in common.

    Attributes:
        imperfect_interventions: whether every variable still depends on the past when it is intervened on.
        imperfect_variables: the variables that do, by number from 0 on, if not all of them; otherwise empty. The
            training functions take names instead.
        regulariser: lambda, the weight of the term that moves uninformative latents into psi(0).
        regulariser_form: what lambda is. ``share``, as published: psi(0) is spared the share lambda of a latent's
            score (wherever scores are weighted by the assignment), so how strongly a latent is moved depends on its
            scale. ``price``: every latent outside psi(0) costs lambda nats, whatever its scale.
        regulariser_warmup: share of the steps over which lambda rises from 0. From the start, it would move variables
            into psi(0) whose interventions are not understood yet; later, it moves what no intervention explains, as
            long as there is enough noise.
    """

    imperfect_interventions: bool = setting(
        False, "Whether a variable still depends on its past when it is intervened on.", off="perfect-interventions"
    )
    imperfect_variables: tuple[int, ...] = setting(
        (), "The variables whose interventions are imperfect, if only some are.", shown="none", kw_only=True
    )
    regulariser: float = setting(
        0.01,
        "Weight of the regulariser, which moves uninformative latents into psi(0), the block of no variable.",
        least=0,
    )
    regulariser_form: str = setting(
        "share",
        "Form of the regulariser: price (each latent outside psi(0) adds this many nats to the loss) or share (as "
        "published: latents in psi(0) count less by this share).",
        choices=REGULARISER_FORMS,
        kw_only=True,
    )
    regulariser_warmup: float = setting(
        0.0, "Fraction of the steps over which --regulariser rises from 0.", least=0, most=1
    )

    def perfect(self, variables: int) -> tuple[bool, ...]:
        """Of each of so many variables, whether an intervention on it cuts it off from the past.

        Raises:
            ValueError: ``imperfect_variables`` are none that there are, or all, or ``imperfect_interventions`` is set.
        """
        some = self.imperfect_variables
        if some and self.imperfect_interventions:
            raise ValueError("imperfect_variables are some of the variables, and imperfect_interventions means all")
        # A file may hold whatever it likes.
        if any(type(k) is not int or not 0 <= k < variables for k in some) or len({*some}) < len(some):
            raise ValueError(f"imperfect_variables is {some}; they are numbers from 0 to {variables - 1}, each once")
        if some and len(some) == variables:
            raise ValueError("imperfect_variables are all variables; set imperfect_interventions instead")
        return tuple(not self.imperfect_interventions and k not in some for k in range(variables))


@dataclass(frozen=True)
class MLPPriorConfig(CitrisPriorConfig):
    """An MLP a latent: latents of a variable are independent of each other given the past.

    Attributes:
        interventional_components: C, Gaussians of the mixture that a latent follows under a perfect intervention;
            published 1. Where a variable takes few values or lies on a curve, a single Gaussian has to cover the gaps
            between, and then it costs nothing to hide something else of the frames in them.
    """

    name: ClassVar[str] = "mlp"
    interventional_components: int = setting(
        1,
        "Gaussians in the mixture that a latent follows under a perfect intervention; 1 as published.",
        least=1,
        most=MOST_COMPONENTS,
        kw_only=True,
    )


@dataclass(frozen=True)
class AutoregressivePriorConfig(CitrisPriorConfig):
    """One masked network: a latent may depend on the latents before it of its own variable.

    Attributes:
        autoregressive_hidden: hidden units a latent.
    """

    name: ClassVar[str] = "autoregressive"
    autoregressive_hidden: int = setting(16, "Hidden units per latent in the autoregressive prior.", least=1)


@dataclass(frozen=True)
class IVAEPriorConfig(PriorConfig):
    """The prior of iVAE*."""

    name: ClassVar[str] = "ivae"


@dataclass(frozen=True)
class SlowPriorConfig(PriorConfig):
    """The prior of SlowVAE."""

    name: ClassVar[str] = "slow"


@dataclass(frozen=True)
class ICitrisPriorConfig(CitrisPriorConfig):
    """iCITRIS: effects within a step, and their graph. Interventions must be perfect.

    Shares are of the steps of the training run, so that a short run goes through all stages.

    Attributes:
        graph_learning: how the graph is learned, see :mod:`citris_cli.core.graph`.
        graph_samples: graphs drawn for every row of a batch by ENCO; only the first teaches the networks. NOTEARS
            draws one.
        sparsity: lambda, nats (ENCO) or weight (NOTEARS) that an edge costs; published 0.02 and 0.002.
        graph_rate: learning rate of the graph in multiples of the main one; published 0.5.
        graph_start, graph_full: shares of the steps until which that rate is 0, and from which it is full; from the
            first of them on, NOTEARS's penalty on cycles rises, to the training's end.
        autoregressive: whether a latent may also depend on the latents before it of its own variable.
        psi0: whether there is a psi(0) for what no intervention touches; the published form has none.
        mi_weight: beta_mi, weight of the estimated mutual information; it triples while parents come into play.
        parents_start, parents_full: shares of the steps until which that is the information about the earlier frame
            alone, and from which it is that about the parents as well.
        ancestors: probability, at last, that the classifier sees all ancestors instead of the parents; published 0.9
            for CITRIS-NF and 0 for CITRIS-VAE.
        scale_weight: weight of what keeps every latent's mean at 0 and its standard deviation at 1 over a batch.
    """

    name: ClassVar[str] = "icitris"
    graph_learning: str = setting("enco", "How iCITRIS learns its graph.", choices=GRAPH_LEARNING)
    graph_samples: int = setting(8, "Graphs that ENCO samples for each pair of frames.", least=1)
    sparsity: float = setting(
        0.02, "Penalty on each edge of iCITRIS's graph.", least=0, shown="0.02 for enco, 0.002 for notears"
    )
    graph_rate: float = setting(
        0.5, "Learning rate of the graph, in multiples of --lr.", least=0, shown="5 in small, 0.5 in paper"
    )
    graph_start: float = setting(
        0.1,
        "Fraction of the steps before iCITRIS starts to learn the graph.",
        least=0,
        most=1,
        shown="0.35 in small, 0.1 in paper",
    )
    graph_full: float = setting(
        0.3,
        "Fraction of the steps after which the graph learns at its full rate.",
        least=0,
        most=1,
        shown="0.55 in small, 0.3 in paper",
    )
    autoregressive: bool = setting(
        False, "Whether, in iCITRIS, a latent may depend on earlier latents of the same variable."
    )
    psi0: bool = setting(True, "Whether iCITRIS has a psi(0), latents of no variable; the published form has none.")
    mi_weight: float = setting(2.0, "Weight of iCITRIS's loss on mutual information under interventions.", least=0)
    parents_start: float = setting(
        0.2, "Fraction of the steps during which the mutual-information loss leaves out parents.", least=0, most=1
    )
    parents_full: float = setting(
        0.7, "Fraction of the steps after which the mutual-information loss includes all parents.", least=0, most=1
    )
    ancestors: float = setting(
        0.0,
        "Probability that iCITRIS's target classifier sees all ancestors instead of the parents.",
        least=0,
        most=1,
        shown="0.9 for train-nf, 0 for train-vae",
    )
    scale_weight: float = setting(
        0.1, "Weight of the term that keeps iCITRIS's latents at mean 0 and standard deviation 1.", least=0
    )


#: Configurations of the priors that come with the package.
PRIOR_CONFIGS: tuple[type[PriorConfig], ...] = (
    MLPPriorConfig,
    AutoregressivePriorConfig,
    ICitrisPriorConfig,
    IVAEPriorConfig,
    SlowPriorConfig,
)


@dataclass(frozen=True)
class CausalLatentsConfig:
    """Sizes and loss of what is common to both models; the defaults are the published ones.

    Attributes:
        latents: number of latents M.
        variables: number of intervened causal variables K.
        flow_layers: layers F of the flow.
        flow_hidden: hidden units h a latent in the flow's autoregressive networks.
        hidden: width c of the MLP prior's and the classifier's networks.
        prior: the transition prior, by its configuration.
        classifier_layers: hidden layers of the target classifier.
        classifier_momentum: momentum of the classifier's frozen copy.
        classifier_weight: beta_classifier, weight of the loss that the classifier gives the latents.
        conditional_targets: whether latents of one variable may tell p(I_i | I_j) rather than p(I_i) alone.
        temperature: of the Gumbel-softmax samples of the assignment.
    """

    latents: int = setting(32, "Number of latents of a frame.", least=1)
    variables: int = size(9)
    flow_layers: int = setting(4, "Layers of the flow.", least=1)
    flow_hidden: int = setting(16, "Hidden units per latent in the flow.", least=1)
    hidden: int = setting(64, "Width of the networks of the MLP prior and the target classifier.", least=1)
    prior: PriorConfig = setting(  # noqa: RUF009
        MLPPriorConfig(),
        "Transition prior: mlp (latents of a variable are independent given the past), autoregressive (they may "
        "depend on each other) or icitris (variables also act on each other within a step).",
    )
    classifier_layers: int = setting(1, "Hidden layers of the target classifier.", least=1)
    classifier_momentum: float = setting(0.0, "Momentum of the target classifier's frozen copy.", least=0, most=0.9999)
    classifier_weight: float = setting(2.0, "Weight of the target classifier's loss on the latents.", least=0)
    conditional_targets: bool = setting(
        True, "Whether to allow for intervention targets that depend on each other.", off="independent-targets"
    )
    temperature: float = setting(1.0, "Temperature of the Gumbel-softmax assignment.", least=0.01)


@dataclass(frozen=True)
class CitrisNFConfig(CausalLatentsConfig):
    """Sizes and loss of CITRIS-NF; the defaults are the published ones.

    Attributes:
        samples: noisy copies S of every encoding.
        noise: standard deviation sigma of that noise, the autoencoder's.
    """

    latents: int = setting(32, "Number of latents of a frame.", least=1, shown="the autoencoder's")
    samples: int = setting(8, "Noisy copies of each encoding.", least=1)
    noise: float = setting(
        0.05, "Standard deviation of the noise on the encodings.", least=0, shown="the autoencoder's"
    )


@dataclass(frozen=True)
class CitrisVAEConfig(CausalLatentsConfig):
    """Sizes and loss of CITRIS-VAE.

    With ``flow_layers`` 0 there is no flow: the latents of the VAE are the causal latents (the standard prior). With a
    flow between the two (the flow prior) the posterior of the causal latents need not be a diagonal Gaussian.

    Attributes:
        width: frame width and height in pixels, one of :data:`WIDTHS`.
        channels: channels c of the encoder and decoder.
        networks: ``pyramid``, for every width, or ``small``, published for 32x32 frames.
        decoder_blocks: residual blocks a decoder stage of the pyramid.
        patch: side of the pixel blocks that the pyramid folds into channels: 1 published, 2 a quarter of the work.
        kl_weight: beta_t1, weight of the divergence between posterior and prior.
        image_channels: channels of a frame, 1 to 8; 3 of an RGB one.
    """

    flow_layers: int = setting(4, "Layers of the flow; with 0, the VAE's latents are the causal latents.", least=0)
    prior: PriorConfig = setting(  # noqa: RUF009
        MLPPriorConfig(),
        "Transition prior: mlp (latents of a variable are independent given the past), autoregressive (they may "
        "depend on each other), icitris (variables also act on each other within a step), or a baseline: ivae (iVAE*) "
        "or slow (SlowVAE).",
    )
    width: int = frame_width()
    channels: int = setting(64, "Channels in every convolutional stage.", least=1)
    networks: str = setting("pyramid", "Architecture of the encoder and decoder.", choices=NETWORKS)
    decoder_blocks: int = setting(1, "Residual blocks per decoder stage.", least=0)
    patch: int = patch_side()
    kl_weight: float = setting(1.0, "Weight of the KL divergence between posterior and prior.", least=0)
    image_channels: int = size(3, most=MOST_CHANNELS)


@dataclass(frozen=True)
class CausalEncoderConfig:
    """Sizes and loss of the causal encoder.

    Attributes:
        width: frame width and height in pixels, one of :data:`WIDTHS`.
        channels: channels c of every convolutional stage, and number of the features that the heads see.
        patch: side of the pixel blocks folded into channels: 1 published, 2 a quarter of the work.
        shapes: whether features of a network that sees no colours stand beside the others; the published one has none.
        norm_penalty: weight of ``(2 - norm)^2`` of an angle's vector, in training.
        image_channels: channels of a frame, 1 to 8; 3 of an RGB one.
    """

    width: int = frame_width()
    channels: int = setting(64, "Channels in every convolutional stage.", least=1)
    patch: int = patch_side()
    shapes: bool = setting(False, "Whether a second network, which sees no colours, reads shapes.")
    norm_penalty: float = setting(0.1, "Weight of the penalty that keeps the vectors of angles at norm 2.", least=0)
    image_channels: int = size(3, most=MOST_CHANNELS)
