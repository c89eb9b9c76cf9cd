"""Our trainers, where nnU-Net's search for a class finds them.

nnU-Net imports every module of the folders in ``nnUNet_extTrainer`` while it searches, adds such a folder to
``sys.path`` meanwhile and forgets its modules afterwards. So this module has a name of its own, defines no
class (the installed package does: one class, however often it is looked up, and one that pickles) and never
raises: an exception here would stop the search for a trainer that is not ours.
"""

try:
    from nnunetv2_sa_unet.nnunet.trainers import *  # noqa: F403
except Exception as error:
    import warnings

    # Shown whatever filters are set: under `-W error` the warning itself would raise.
    with warnings.catch_warnings():
        warnings.simplefilter("always", RuntimeWarning)
        warnings.warn(
            f"the trainers of nnunetv2-sa-unet cannot be imported ({type(error).__name__}: {error}); "
            "`nnUNetv2_sa_unet doctor` says more",
            RuntimeWarning,
            stacklevel=1,
        )
