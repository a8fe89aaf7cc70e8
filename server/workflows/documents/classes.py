"""Which documents become reports: the SR classes of findings (PS3.3 A.35)."""

from terminology.definitions import sop_classes

# Dose reports, CAD, procedure logs and key objects say something else.
CLASSES = frozenset(
    {
        sop_classes.BasicTextSRStorage,
        sop_classes.EnhancedSRStorage,
        sop_classes.ComprehensiveSRStorage,
        sop_classes.Comprehensive3DSRStorage,
        sop_classes.ExtensibleSRStorage,
    }
)
