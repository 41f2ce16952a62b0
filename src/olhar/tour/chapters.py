"""The chapters of the tour, in the order of the notes: the table, and nothing else."""

from olhar.report.panels.alignment import matrix_panel
from olhar.report.panels.confusion import confusion_panel
from olhar.report.panels.detection import boxes_panel, found_panel
from olhar.report.panels.latent import latent_panel
from olhar.report.panels.pictures import examples_panel, mistakes_panel
from olhar.report.panels.reconstruction import restored_panel
from olhar.report.panels.segmentation import masks_panel, pixels_panel
from olhar.tour import basics, speaking
from olhar.tour.chapter import Chapter, Step
from olhar.tour.steps import look, panels, training

DIGITS = ("digits", "digits")
ONE = ("shapes:n=3000,size=32", "shapes:n=800,size=32")
SEVERAL = ("shapes:n=2000,size=64,objects=3", "shapes:n=600,size=32,objects=2")
SAID = ("shapes:n=4000,size=32,objects=1,holdout=0", "shapes:n=1500,size=32,objects=1,holdout=0")
# Small enough for what is left of eight minutes: the sizes of the table are for more.
FEW_WORDS = {"width": 64, "layers": 2, "heads": 4}

CHAPTERS: dict[str, Chapter] = {
    "likelihood": Chapter(
        title="Likelihood: a die and a bell curve",
        notes="Section 1.1, Figures 1.2 and 1.3",
        story=(
            "A model gives every observation a probability. Of all its parameters the best are those that make what "
            "was observed most probable: the likelihood is the product of these probabilities, and because products "
            "of many small numbers vanish, its logarithm is used, with the sign changed.",
        ),
        equation=r"\mathcal{L}(s;\theta)=-\sum_{i=1}^{n}\,\log f(x_i;\theta)",
        minimises="The surprise at what was observed (Eq 1.8). Every chapter makes it smaller; only f changes.",
        steps=(
            Step("die", "a die is thrown 40 times", basics.die, 0.3),
            Step("bell", "a bell curve is fitted in three ways", basics.bell, 0.6),
        ),
        commands=("olhar explain 'log(p)*12 + log((1 - p)/5)*28' --at p=0.3",),
    ),
    "gradient": Chapter(
        title="The gradient: the chain rule, backward",
        notes="Section 1.2, Eq 1.19 to 1.24",
        story=(
            "To go down a slope one has to know where down is. However long a computation is, it is made of small "
            "operations whose derivatives everyone knows; the derivative of the whole is their product, taken from "
            "the end to the beginning.",
        ),
        equation=r"\dfrac{df}{dx}=\dfrac{df}{dh}\,\dfrac{dh}{dg}\,\dfrac{dg}{dx}"
        r"\qquad\theta\leftarrow\theta-\mathrm{lr}\,\nabla_{\theta}\mathcal{L}",
        minimises="The chain rule (Eq 1.21), and the step that it is for (Algorithm 1).",
        steps=(Step("chain", "a neuron is taken apart", basics.chain, 0.6),),
        commands=("olhar explain '(x - 5)**2 + 8' --at x=3", "olhar explain 'a*(x - b)**2 - c' --at a=2,x=3,b=1,c=4"),
    ),
    "regress": Chapter(
        title="Regression: a number for an image",
        notes="Sections 1.3 and 1.4, Figures 1.4 to 1.6",
        story=(
            "The model gives the mean of a bell curve. With two parameters it is a line and the error is a surface "
            "one can look at; with a network instead of the line it reads the diameter of a shape off the picture "
            "itself.",
        ),
        equation=r"-\log p(y\,|\,x;\theta)=\dfrac{(y-\mu(x;\theta))^2}{2\sigma^2}+\log\sigma\sqrt{2\pi}",
        minimises="The squared error, which is the surprise of a bell curve (Eq 1.9).",
        steps=(
            Step("line", "a line is fitted", basics.line, 1.1),
            training("a network reads sizes off pictures", 25, 4, ONE, "mae", task="regress", model="cnn-small"),
            panels("examples", "its answers", [examples_panel], 0.2),
        ),
        commands=("olhar train labels.csv --data.label_column age",),
    ),
    "logistic": Chapter(
        title="Logistic regression: a picture for each class",
        notes="Sections 1.1.3 and 1.4, Eq 1.13 to 1.17",
        story=(
            "For classes the model gives a score each, and the softmax makes probabilities of them. The simplest "
            "scores are weighted sums of the pixels: for two classes and one number per image the error is a surface "
            "again, for ten digits of 64 pixels there are 650 parameters.",
        ),
        equation=r"p(i)=\dfrac{e^{r(i)}}{\sum_{j}e^{r(j)}}\qquad E=-\log p(y)",
        minimises="The cross-entropy: the surprise at the true class (Eq 1.15).",
        steps=(
            Step("two", "zeros and ones by one number", basics.two_digits, 0.4),
            training("a linear model on the digits", 10, 30, DIGITS, "accuracy", model="linear"),
            Step("templates", "its weights as pictures", basics.templates, 0.4),
        ),
        commands=("olhar train photos --model linear",),
    ),
    "classify": Chapter(
        title="Classification: a convolutional network",
        notes="Section 2, Figures 2.3 to 2.9",
        story=(
            "The same cross-entropy, but the scores come from filters that are moved over the picture, layer upon "
            "layer, so that a stroke is the same stroke wherever it stands. What is seen at the end is no longer "
            "pixels but features, and on them a linear model suffices.",
        ),
        equation=r"E(s;\theta)=-\sum_{i=1}^{n}\,\log\,\mathbf{f}(x_i;\theta)(y_i)",
        minimises="Still the cross-entropy (Eq 1.17): the loss does not change when the model does.",
        steps=(
            training("a CNN on the digits", 25, 6, DIGITS, "accuracy", model="cnn-tiny"),
            look("network", "what it is made of", 0.8, "The network", place="model"),
            panels("answers", "its mistakes", [confusion_panel, mistakes_panel], 0.2),
            look("patches", "what excites its filters", 1.3, "What excites each filter"),
            look("why", "why it says what it says", 1.3, "Why this class"),
            look("receptive-field", "what a neuron sees", 1.5, "What a neuron sees", quick=False),
            look("representation", "its features on a map", 2, "The features on a map"),
            look("landscape", "the landscape of its loss", 10, "The landscape of the loss", quick=False),
        ),
        commands=("olhar train photos", "olhar predict runs/photos-1 new.jpg", "olhar inspect runs/photos-1 why"),
    ),
    "segment": Chapter(
        title="Segmentation: a class for every pixel",
        notes="Section 2.4, Figures 2.9 and 2.10",
        story=(
            "An encoder looks at the picture at coarser and coarser scales, a decoder carries what it found back to "
            "full resolution, and every pixel is classified.",
        ),
        equation=r"E=-\dfrac{1}{HW}\sum_{u,v}\,\log p_{uv}(y_{uv})",
        minimises="The cross-entropy, now of every pixel.",
        steps=(
            training("an encoder and a decoder on shapes", 60, 2, SEVERAL, "miou", task="segment"),
            look("network", "what it is made of", 1.2, "Encoder and decoder", place="model", quick=False),
            panels("masks", "its masks", [masks_panel, pixels_panel], 0.5),
            look("receptive-field", "what a pixel sees", 1.5, "What a pixel of the answer sees", quick=False),
        ),
        commands=("olhar train street", "olhar predict runs/street-1 inbox --out masks"),
    ),
    "reconstruct": Chapter(
        title="Reconstruction: an image in few numbers",
        notes="Section 2.4, Figure 2.11",
        story=(
            "An encoder says the picture in few numbers, the latent; a decoder paints it again from them. Nobody has "
            "to label anything: the picture is its own target. What is close in the latent space looks alike.",
        ),
        equation=r"-\log p(x\,|\,z)=\dfrac{1}{2\sigma^2}\,\Vert x-d(e(x))\Vert^2+n\,\log\sigma\sqrt{2\pi}",
        minimises="The squared error of every pixel, the surprise of a bell curve around the decoder's picture.",
        steps=(
            training("an autoencoder on the digits", 25, 4, DIGITS, "psnr", task="reconstruct"),
            panels("images", "what comes back", [restored_panel, latent_panel], 0.5),
        ),
        commands=("olhar train photos --task reconstruct", "olhar train photos --task reconstruct --corruption noise"),
    ),
    "detect": Chapter(
        title="Detection: what is where",
        notes="Section 2.5, Figures 2.12 and 2.13",
        story=(
            "At every place of a feature map anchors of several sizes are laid. Each says whether an object lies in "
            "it, how the box differs from the anchor, and which class it is: 1 + 4 + c numbers an anchor. Of boxes "
            "that overlap, the surest stays.",
        ),
        equation=r"E=-\log p_{\mathrm{object}}+\sum_{k=1}^{4}\dfrac{(t_k-\hat{t}_k)^2}{2\sigma^2}-\sum_{c}\,\log p_c",
        minimises="Three surprises at once: whether, where and what.",
        steps=(
            training("a detector on shapes", 80, 3, SEVERAL, "ap50", task="detect"),
            look("anchors", "its anchors", 1, "Anchors", place="model"),
            panels("boxes", "its boxes", [boxes_panel, found_panel], 0.5),
            look("assignment", "which anchor answers for which object", 1, "Who answers for what", quick=False),
            look("objectness", "where it sees objects", 1, "Where it sees objects"),
            look("suppression", "which boxes stay", 1, "Of many boxes one"),
        ),
        commands=("olhar train cells", "olhar predict runs/cells-1 inbox --pictures seen"),
    ),
    "attention": Chapter(
        title="Attention: patches that look at one another",
        notes="Section 3, Figures 3.1 to 3.3",
        story=(
            "The picture becomes a sentence of patches. Each patch asks all others, and takes from those that answer: "
            "a mixture whose weights depend on what is there, not on where. Block after block, a token for the whole "
            "picture gathers what it needs.",
        ),
        equation=r"Q'=\mathrm{softmax}\left(\dfrac{QK^{\,T}}{\sqrt{D}}\right)V",
        minimises="What attention computes (Eq 3.4, 3.5). The loss is the cross-entropy of the classes, as before.",
        steps=(
            Step("words", "a word in its sentence", speaking.meaning, 0.1),
            training(
                "a vision transformer on the digits", 30, 4, DIGITS, "accuracy", model="vit-mini4",
                lr=0.03,  # in 5 s it came to 72 %, with the usual 0.01 to 33 %; in 25 s to 97 and 95 % (one run each)
                **{"model.args": {"patch": 2, "stem": "patch", "width": 64, "depth": 4, "heads": 4}},
            ),
            look("attention", "where it looks", 1, "Where it looks"),
        ),
        commands=("olhar train photos --model vit-mini8", "olhar inspect runs/photos-1 attention"),
    ),
    "align": Chapter(
        title="Alignment: words and pictures in one space",
        notes="Section 4, Figures 4.1 to 4.3",
        story=(
            "One network reads pictures, another reads captions; both end in vectors of one space. In every batch "
            "each picture has to find its caption among all captions, and each caption its picture. Afterwards "
            "anything that can be said can be searched for.",
        ),
        equation=r"E=-\dfrac{1}{2N}\sum_{i=1}^{N}\left[\,\log\dfrac{e^{s_{ii}/\tau}}{\sum_j e^{s_{ij}/\tau}}"
        r"+\log\dfrac{e^{s_{ii}/\tau}}{\sum_j e^{s_{ji}/\tau}}\right]",
        minimises="The cross-entropy of the diagonal, along rows and columns (Figure 4.3).",
        steps=(
            training(
                "pictures and captions of shapes", 70, 2, SAID, "mean_recall", task="align",
                **{"model.text_args": FEW_WORDS, "train.batch_size": 128},
            ),
            panels("matrix", "who finds whom", [matrix_panel], 0.6),
            Step("search", "texts search pictures", speaking.search, 1.5),
        ),
        commands=("olhar train emoji", 'olhar search runs/emoji-1 "a dog on a sofa" album'),
    ),
    "diffuse": Chapter(
        title="Drawing: from noise to a picture, by a text",
        notes="Section 5, Figures 5.1 to 5.3",
        story=(
            "Noise is added to pictures until nothing is left of them, and a network learns to say at every level "
            "what lies under the noise, told the caption. Then it is begun with noise alone: step by step a picture "
            "comes out that never was.",
        ),
        equation=r"x_t=\sqrt{\bar{\alpha}_t}\;x_0+\sqrt{1-\bar{\alpha}_t}\;\epsilon"
        r"\qquad E=\Vert x_0-\hat{x}_{\theta}(x_t,t,\mathrm{text})\Vert^2",
        minimises="The squared error of what is said of the noisy picture, at a level drawn at random.",
        steps=(
            training(
                "a network learns to draw shapes", 97, 1, SAID, "mse", task="diffuse",
                **{"model.args": {"widths": "48,96", "patch": 4}, "model.text_args": FEW_WORDS},
            ),
            Step("paint", "texts become pictures", speaking.paint, 5),
            Step("longer", "a model that learnt for longer draws", speaking.paint_longer, 4),
            look("denoising", "where it looks for a word", 4, "Where the words look", quick=False),
        ),
        commands=(
            'olhar generate shapes "a red circle above a blue square" --n 4', "olhar train emoji --task diffuse",
            'olhar generate runs/emoji-2 "a red heart" --n 4 --seed 7',
        ),
    ),
}  # fmt: skip
