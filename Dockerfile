# syntax=docker/dockerfile:1
# 3D SA-UNet for WMH in FLAIR, with the weights in the box; nothing is downloaded when it runs.
#
#   docker build -t nnunetv2-sa-unet .                                   # for CPUs
#   docker build -t nnunetv2-sa-unet:cuda --build-arg TORCH=cu126 .      # for NVIDIA GPUs
#   docker run --rm --network none -u "$(id -u)" -v "$PWD/FLAIR:/in:ro" -v "$PWD/OUT:/out" \
#     nnunetv2-sa-unet segment /in -o /out                               # with a GPU: --gpus all
ARG PYTHON=3.12

FROM python:${PYTHON}-slim-bookworm AS wheel
WORKDIR /source
COPY . .
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheel .

FROM python:${PYTHON}-slim-bookworm
LABEL org.opencontainers.image.title="nnunetv2-sa-unet" \
      org.opencontainers.image.description="3D SA-UNet for white matter hyperintensities in FLAIR MRI; research software, not for clinical use" \
      org.opencontainers.image.licenses="Apache-2.0"
# A folder of PyTorch's index: cpu, or the CUDA version that the driver allows (cu126, cu128 …). NVIDIA's libraries
# come with it, so the base stays the same.
ARG TORCH=cpu
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    python -m pip install --no-cache-dir --extra-index-url "https://download.pytorch.org/whl/${TORCH}" /wheel/*.whl \
 && useradd --create-home --uid 1000 wmh \
 && mkdir /in /out \
 && chown wmh /out
# Whoever runs it (`-u`, Apptainer) finds a folder that may be written to, and no packages of a home folder get in.
ENV HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONNOUSERSITE=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 1000
WORKDIR /out
ENTRYPOINT ["nnUNetv2_sa_unet"]
CMD ["--help"]
