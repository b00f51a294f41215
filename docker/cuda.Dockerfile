# The program with the GPU build of ONNX Runtime, for workers with worker.provider = "cuda". From the repository's root:
#   docker build --file docker/cuda.Dockerfile --tag visavis-cuda .
# Model files are fetched as for processors, by the image `models` of cpu.Dockerfile.
ARG BUILD_IMAGE=docker.io/library/rust:1.95-bookworm
ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim-bookworm
# CUDA 13 with cuDNN 9, as this build of ONNX Runtime wants them.
ARG RUNTIME_IMAGE=docker.io/nvidia/cuda:13.0.2-cudnn-runtime-ubuntu24.04

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY . .
RUN cargo build --locked --release --package visavis --bin visavis \
    && install -D --mode 755 target/release/visavis /image/usr/local/bin/visavis \
    && install -D --mode 644 LICENSE /image/usr/share/doc/visavis/LICENSE \
    && install --directory --owner 10001 --group 10001 --mode 700 /image/var/lib/visavis /image/var/lib/visavis-objects \
    && install --directory --owner 10001 --group 10001 --mode 755 /image/var/cache/visavis

FROM ${PYTHON_IMAGE} AS onnxruntime
WORKDIR /wheel
# The wheel is for one Python, the libraries in it for none.
COPY docker/onnxruntime-gpu.txt .
RUN python3 -m pip download --no-cache-dir --no-deps --only-binary=:all: --require-hashes --python-version 311 \
        --implementation cp --abi cp311 --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 \
        --requirement onnxruntime-gpu.txt \
    && python3 -m zipfile --extract ./*.whl unpacked \
    && install --directory /image/opt/onnxruntime \
    && install --mode 644 unpacked/onnxruntime/capi/libonnxruntime*.so* /image/opt/onnxruntime \
    && ln --symbolic "$(basename unpacked/onnxruntime/capi/libonnxruntime.so.*)" /image/opt/onnxruntime/libonnxruntime.so

FROM ${RUNTIME_IMAGE} AS runtime
COPY --from=build /image/ /
COPY --from=onnxruntime /image/ /
ENV XDG_DATA_HOME=/var/lib VISAVIS_CACHE_DIR=/var/cache/visavis \
    LD_LIBRARY_PATH=/opt/onnxruntime:/usr/local/cuda/lib64
USER 10001:10001
VOLUME ["/var/lib/visavis", "/var/cache/visavis"]
EXPOSE 8443 9090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=300s --retries=3 CMD ["visavis", "healthcheck"]
ENTRYPOINT ["visavis"]
CMD ["worker", "--admin-listen", "0.0.0.0:9090"]
