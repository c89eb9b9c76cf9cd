"""3D SA-UNet as a plugin for nnU-Net v2.

This module stays free of imports: the interpreter loads it at every start (see ``discovery``).
"""

__version__ = "0.1.0"
