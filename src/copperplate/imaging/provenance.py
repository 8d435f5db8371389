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
_PACKET: Final = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    'Iptc4xmpExt:DigitalSourceType="{source_type}" Iptc4xmpExt:AISystemUsed={model}/>'
    '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
)


def xmp_packet(model: str) -> bytes:
    """The XMP packet of a picture that `model` made (IPTC Photo Metadata Standard 2025.1), UTF-8."""
    name = quoteattr(_NO_XML.sub("\ufffd", model[:MAX_MODEL_CHARS]))
    return _PACKET.format(source_type=SOURCE_TYPE, model=name).encode()
