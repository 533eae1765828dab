"""Parts are interchangeable: every pair of options is judged, and each option is trained with each modality it serves.

The options are those that conf/ has.
"""

import itertools

import pytest
import torch
from parts import PARTS
from test_config import composed

from ssl_lab.backbone.base import Backbone
from ssl_lab.config import build
from ssl_lab.data.base import Data, Source
from ssl_lab.embedding.encoder import Encoder
from ssl_lab.errors import UsageError
from ssl_lab.head.base import Head
from ssl_lab.problem.base import Examples
from ssl_lab.randomness import Draw
from ssl_lab.training.compose import compose
from ssl_lab.training.fitting import GROUPS, check_parts, known
from ssl_lab.views.base import Views

OPTIONS = {group: dict(known(group)) for group in GROUPS}
PAIRS = [
    ((one, first), (other, second))
    for one, other in itertools.combinations(GROUPS, 2)
    for first, second in itertools.product(OPTIONS[one], OPTIONS[other])
]


def go_together(data, views, backbone, objective, head):
    """What the contracts say."""
    return (
        views.reads == data.key
        and views.shows == backbone.reads
        and objective.needs <= views.makes
        and objective.needs_of_backbone <= backbone.gives
        and head.problem.needs_of_backbone <= backbone.gives
    )


WHOLE = [
    parts
    for parts in itertools.product(*(dict.fromkeys(group.values()) for group in OPTIONS.values()))
    if go_together(*parts)
]
"""every choice of classes that works"""

TOGETHER = {frozenset(pair) for parts in WHOLE for pair in itertools.combinations(parts, 2)}


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=lambda option: "=".join(option))
def test_a_pair_of_options_works_or_is_refused_with_what_would(one, other):
    pair = {group: OPTIONS[group][name] for group, name in (one, other)}
    if frozenset(pair.values()) in TOGETHER:
        check_parts(pair)
        return
    with pytest.raises(UsageError) as refused:
        check_parts(pair)
    message = str(refused.value)
    named = [
        option.split("=")
        for option in message.replace(",", " ").split()
        if option.split("=")[0] in GROUPS and "=" in option
    ]
    assert named, message
    for group, name in named:
        (kept,) = {key: part for key, part in pair.items() if key != group}.values()
        assert frozenset({kept, OPTIONS[group][name]}) in TOGETHER, message


def test_parts_of_a_kind_of_ones_own_are_judged_by_each_other_alone():
    video = {"data": type("Film", (Data,), {"key": "video"}), "views": type("Cuts", (Views,), {})}
    video["views"].reads, video["views"].shows, video["views"].makes = "video", "clip", frozenset({"views"})
    video["backbone"] = type("Net", (Backbone,), {"reads": "clip"})
    check_parts(video)
    check_parts({"backbone": video["backbone"], "head": OPTIONS["head"]["linear"]})
    check_parts({**video, "objective": OPTIONS["objective"]["simclr"]})
    with pytest.raises(UsageError, match="backbone ConvNet reads image, and the views give clip"):
        check_parts({**video, "backbone": OPTIONS["backbone"]["convnet"]})


def covering():
    """Choices of options such that each is there once with each modality that it serves; rare options come first."""
    of_class = {group: {} for group in GROUPS}
    for group, options in OPTIONS.items():
        for name, kind in options.items():
            of_class[group].setdefault(kind, []).append(name)
    whole = [
        dict(zip(GROUPS, names, strict=True))
        for parts in WHOLE
        for names in itertools.product(*(of_class[group][kind] for group, kind in zip(GROUPS, parts, strict=True)))
    ]
    left = {(group, name, OPTIONS["data"][one["data"]].key) for one in whole for group, name in one.items()}
    while left:
        best = max(whole, key=lambda one: sum(fact in left for fact in facts(one)))
        yield best
        left -= facts(best)


def facts(one):
    key = OPTIONS["data"][one["data"]].key
    return {(group, name, key) for group, name in one.items()}


@pytest.fixture(scope="module")
def files(tmp_path_factory, words, bert):
    """What options need that would come from elsewhere: a tokenizer, and small models of the Hub."""
    from transformers import ResNetConfig, ResNetModel, Wav2Vec2Config, Wav2Vec2Model

    folder = tmp_path_factory.mktemp("files")
    words.save(folder / "tokenizer.json")
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    ResNetModel(ResNetConfig(**sizes)).save_pretrained(folder / "image")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    sizes |= {"conv_dim": (8, 8), "conv_stride": (20, 16), "conv_kernel": (20, 16), "num_conv_pos_embeddings": 4}
    sizes |= {"num_feat_extract_layers": 2, "num_conv_pos_embedding_groups": 2, "feat_extract_norm": "layer"}
    Wav2Vec2Model(Wav2Vec2Config(**sizes)).save_pretrained(folder / "wave")
    (folder / "tokens").symlink_to(bert)
    return folder


def overrides(one, files):
    key = OPTIONS["data"][one["data"]].key
    given = [f"{group}={name}" for group, name in one.items() if group != "head"]
    needed = PARTS["data"][one["data"]].needs
    given += [value.replace("PATH", "x") for value in needed if value.startswith(("data.path=", "data.name="))]
    if key == "tokens":
        packed = OPTIONS["views"][one["views"]].reads_packed
        given += [f"data.tokenizer.file={files / 'tokenizer.json'}", "data.length=32", f"data.pack={packed}"]
    if key == "wave":
        given += ["data.statistics=[-8,3]", "data.seconds=1"]
    if "hub" in one["backbone"]:
        given += [f"backbone.name={files / key}", "backbone.pretrained=false"]
    return given


@pytest.mark.parametrize("one", covering(), ids=lambda one: "-".join(one.values()))
def test_each_option_trains_and_embeds_with_each_modality_that_it_serves(one, files):
    config = composed(*overrides(one, files))
    if "depth" in config["backbone"]:
        config["backbone"]["depth"] = 1  # as large as it is otherwise, and as quick as a test
    data = build(config["data"], Data, Source)
    torch.manual_seed(0)
    module = compose(config, data)
    objective, before = module.objective, [p.detach().clone() for p in module.objective.encoder.parameters()]
    loss = objective(module.views(data.example(), Draw(0, 0)), 0.0)["loss"]
    loss.backward()
    optimizer = module.make_optimizer(objective.groups(0.0))
    optimizer.step()
    objective.after_step(0.5)
    assert loss.isfinite()
    assert any((p != old).any() for p, old in zip(objective.encoder.parameters(), before, strict=True))
    encoder = Encoder(objective.encoder, module.views, {})
    vectors = encoder.encode([data.example()])
    assert vectors.shape == (4, objective.encoder.width)
    assert vectors.isfinite().all()
    assert len(vectors.unique(dim=0)) > 1
    head, targets = build(composed(f"head={one['head']}", task="probe")["head"], Head), torch.arange(4) % 2
    head.fit(Examples(vectors, targets, torch.arange(4)), ["O", "B-x"], 0)
    assert head(vectors).shape == (4, 2)
