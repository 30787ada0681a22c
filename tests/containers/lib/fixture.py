# SPDX-License-Identifier: Apache-2.0
"""What a case with containers has at hand, beyond what the end-to-end tests have."""

from built_image import BuiltImage
from harness import Case
from runtimes import Containerd, Oci, Podman, Root


class ContainerCase(Case):
    """Context of one running case; containers end with close()."""

    def __init__(self, name, machine):
        super().__init__(name)
        self.machine, self._runtimes = machine, []
        self.root = Root(machine.dir)

    def _keep(self, runtime):
        self._runtimes.append(runtime)
        return runtime

    def oci(self, v2=False):
        """crun or runc. v2: where there is nothing but cgroup v2, whatever this host has."""
        return self._keep(Oci(self.machine, self.root, v2))

    def podman(self):
        return self._keep(Podman(self.machine, self.root))

    def containerd(self):
        return self._keep(Containerd(self, self.machine, self.root))

    def image(self):
        """The image of deploy/, not built yet."""
        return self._keep(BuiltImage(self.machine))

    def close(self):
        for runtime in self._runtimes:
            runtime.close()
        super().close()
