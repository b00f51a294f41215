# The program for processors. Two images: `runtime` (the last) serves, `models` has Python and pip beside it and fetches
# model files by checksum, for an init step. From the repository's root:
#   docker build --file docker/cpu.Dockerfile --tag visavis .
#   docker build --file docker/cpu.Dockerfile --target models --tag visavis-models .
# Every base can be another of the same kind; pin yours by digest.
ARG BUILD_IMAGE=docker.io/library/rust:1.95-bookworm
ARG MODELS_IMAGE=docker.io/library/python:3.13-slim-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY . .
# /image is what the other images take: the program, and the folders it writes to, which a volume takes over with their
# owner.
RUN cargo build --locked --release --package visavis --bin visavis \
    && install -D --mode 755 target/release/visavis /image/usr/local/bin/visavis \
    && install -D --mode 644 LICENSE /image/usr/share/doc/visavis/LICENSE \
    && install --directory --owner 10001 --group 10001 --mode 700 /image/var/lib/visavis /image/var/lib/visavis-objects \
    && install --directory --owner 10001 --group 10001 --mode 755 /image/var/cache/visavis

# Where nothing else is said: data below /var/lib, fetched files in /var/cache. A configuration file is above both.
FROM ${MODELS_IMAGE} AS models
COPY --from=build /image/ /
ENV XDG_DATA_HOME=/var/lib VISAVIS_CACHE_DIR=/var/cache/visavis HOME=/tmp PIP_NO_CACHE_DIR=1
USER 10001:10001
VOLUME ["/var/cache/visavis"]
HEALTHCHECK NONE
ENTRYPOINT ["visavis"]
CMD ["models", "fetch"]

# Nothing is run in this stage, so that its base needs no shell.
FROM ${RUNTIME_IMAGE} AS runtime
COPY --from=build /image/ /
ENV XDG_DATA_HOME=/var/lib VISAVIS_CACHE_DIR=/var/cache/visavis
USER 10001:10001
VOLUME ["/var/lib/visavis", "/var/cache/visavis"]
EXPOSE 8443 9090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=120s --retries=3 CMD ["visavis", "healthcheck"]
ENTRYPOINT ["visavis"]
CMD ["up", "--offline", "--listen", "0.0.0.0:8443", "--admin-listen", "0.0.0.0:9090"]
