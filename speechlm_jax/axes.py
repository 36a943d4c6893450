"""The letters that name array axes in shapes, and the words that name them on parameters.

Letters (jaxtyping shapes, and suffixes of array names):

    B rows of a batch          M mel channels             D width of the trunk
    N waveform samples, or     P encoder audio positions  F feed-forward width
      hypotheses of a segment
    T speech frames (10 ms)    S encoder positions        H attention heads
    E segments of a row        U decoder positions        K width of a head
    V vocabulary               L layers                   C channels of a convolution
    Y decoder speech steps     R frames in such a step    Q codebooks
    Z codes of a codebook, or  W encoder text positions
      levels of a mel channel  I places that a causal convolution looks back to
    G blocks of queries        J blocks of places      A, O positions and blocks of all rows in one
    X frequencies of a spectrum, or candidates of a search

In a tree of labels J are its nodes and C what may follow each; prompts of the decoder have room for W tokens.

Behind a G or a J, U and S are positions within such a block.

Words: a parameter bears one word an axis (`nnx.Param(..., axes=("embed", "mlp"))`, `None` for an axis that
is never cut); `speechlm_jax/sharding.py` alone says where a word lies on the device mesh.
"""

EMBED = "embed"
MLP = "mlp"
HEADS = "heads"
HEAD_WIDTH = "head_width"
VOCABULARY = "vocabulary"
LAYERS = "layers"
CHANNELS = "channels"
MELS = "mels"
KERNEL = "kernel"
CODES = "codes"

WORDS = (EMBED, MLP, HEADS, HEAD_WIDTH, VOCABULARY, LAYERS, CHANNELS, MELS, KERNEL, CODES)
