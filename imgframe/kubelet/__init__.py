"""The kubelet's image garbage collection: its rules, release by release, as the real code follows them.

Example:
    >>> from imgframe import kubelet
    >>> kubelet.used_percent(capacity=10_000, available=1_599)
    85
"""

from imgframe.kubelet.image_gc import Candidate, ImageGC, ImageRecord, Run, used_percent, wanted_bytes
from imgframe.kubelet.loops import Loops
from imgframe.kubelet.policy import Policy
from imgframe.kubelet.releases import KubernetesRelease, release
from imgframe.kubelet.runtime import CriError, Runtime, RuntimeContainer, RuntimeImage

__all__ = [
    "Candidate",
    "CriError",
    "ImageGC",
    "ImageRecord",
    "KubernetesRelease",
    "Loops",
    "Policy",
    "Run",
    "Runtime",
    "RuntimeContainer",
    "RuntimeImage",
    "release",
    "used_percent",
    "wanted_bytes",
]
