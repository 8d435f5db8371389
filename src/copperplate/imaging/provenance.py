"""The label that says a picture was made by a model: an XMP packet with two of IPTC's properties. Pure.

It is a label, not a signature: anyone can remove or write it. See docs/provenance.md.
"""

from __future__ import annotations

import re
from typing import Final
from xml.sax.saxutils import quoteattr

# https://cv.iptc.org/newscodes/digitalsourcetype/: made by a model from what it was trained on, and a prompt.
SOURCE_TYPE: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
# A packet has to fit into one segment of a jpeg; no model's name is as long.
MAX_MODEL_CHARS: Final = 1_000

_NO_XML: Final = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_REPLACEMENT: Final = "\ufffd"
_AI_MADE: Final = re.compile(rb"trainedAlgorithmicMedia", re.IGNORECASE)
_PACKET: Final = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    'Iptc4xmpExt:DigitalSourceType="{source_type}"{system}/>'
    '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
)


def xmp_packet(model: str | None) -> bytes:
    """The XMP packet of a picture that `model` made, None: that nobody names (IPTC Photo Metadata 2025.1); UTF-8."""
    system = ""
    if model is not None:
        system = f" Iptc4xmpExt:AISystemUsed={quoteattr(_NO_XML.sub(_REPLACEMENT, model[:MAX_MODEL_CHARS]))}"
    return _PACKET.format(source_type=SOURCE_TYPE, system=system).encode()


def says_ai_made(body: bytes) -> bool:
    """Whether a picture's own bytes say so, in XMP or in a signed manifest, as far as those are not compressed."""
    return _AI_MADE.search(body) is not None
