# SPDX-License-Identifier: Apache-2.0
"""A client of the Container Runtime Interface, as far as the cases need it: messages of runtime.v1 (k8s.io/cri-api),
written by their field numbers, over gRPC."""

import grpc

NAMESPACE_POD, NAMESPACE_CONTAINER, NAMESPACE_NODE = 0, 1, 2  # enum NamespaceMode
CALL_SECONDS_MAX = 30


def _varint(value):
    out = bytearray()
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes(out + bytes([value]))


def message(*fields):
    """Bytes of a message from (number, value) pairs; values are str, bytes (messages), int or dict (maps)."""
    out = b""
    for number, value in fields:
        if isinstance(value, dict):
            for pair in value.items():
                out += message((number, message((1, pair[0]), (2, pair[1]))))
        elif isinstance(value, int):
            out += _varint(number << 3) + _varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            out += _varint(number << 3 | 2) + _varint(len(data)) + data
    return out


def _first_string(data):
    """Field 1 of a message, a string: the id in every response that has one."""
    if not data or data[0] != 1 << 3 | 2:
        return None
    return data[2:2 + data[1]].decode()


class Cri:
    """A connection to a runtime. Errors are those of grpc."""

    def __init__(self, socket):
        self._channel = grpc.insecure_channel(f"unix://{socket}")
        grpc.channel_ready_future(self._channel).result(timeout=CALL_SECONDS_MAX)

    def call(self, method, request):
        """Make a call of RuntimeService with the bytes of a request; returns those of its response."""
        return self._channel.unary_unary(f"/runtime.v1.RuntimeService/{method}")(request, timeout=CALL_SECONDS_MAX)

    def run_pod(self, name, namespace, uid, labels, log_directory):
        """Make a pod in the host's network; returns its sandbox's id and config."""
        options = message((1, NAMESPACE_NODE), (2, NAMESPACE_CONTAINER))
        linux = message((1, f"/kubepods/burstable/pod{uid}"), (2, message((1, options))))
        added = {"io.kubernetes.pod.name": name, "io.kubernetes.pod.namespace": namespace, "io.kubernetes.pod.uid": uid}
        config = message((1, message((1, name), (2, uid), (3, namespace))), (3, log_directory),
                         (6, {**added, **labels}), (8, linux))
        return _first_string(self.call("RunPodSandbox", message((1, config)))), config

    def start_container(self, sandbox, config, name, image, command):
        """Make a container in a pod and start it; returns its id."""
        options = message((1, NAMESPACE_NODE), (2, NAMESPACE_CONTAINER))
        fields = [(1, message((1, name))), (2, message((1, image)))] + [(3, word) for word in command]
        fields += [(11, f"{name}.log"), (15, message((2, message((3, options)))))]
        request = message((1, sandbox), (2, message(*fields)), (3, config))
        container = _first_string(self.call("CreateContainer", request))
        self.call("StartContainer", message((1, container)))
        return container

    def remove_pod(self, sandbox):
        """End a pod and its containers, and remove them."""
        self.call("StopPodSandbox", message((1, sandbox)))
        self.call("RemovePodSandbox", message((1, sandbox)))

    def close(self):
        self._channel.close()
