"""Limits of containers, read from trees that look as Linux's do."""

from pathlib import Path

import pytest

from lince.system import cgroup, machine

V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
V1_CPU_MOUNT = "31 23 0:27 {top} /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:10 - cgroup cgroup rw,cpu,cpuacct\n"
V1_MEMORY_MOUNT = "32 23 0:28 {top} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
OTHER_MOUNT = "23 1 259:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n"


def write(root: Path, **files: str) -> Path:
    """A tree of files, by path; `groups` and `mounts` are those of `/proc/self`."""
    names = {"groups": "proc/self/cgroup", "mounts": "proc/self/mountinfo"}
    for name, text in files.items():
        path = root / names.get(name, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


class TestCpuQuota:
    @pytest.mark.parametrize(
        ("written", "cores"), [("150000 100000", 1.5), ("max 100000", None), ("5000 10000", 0.5), ("", None)]
    )
    def test_version_2(self, tmp_path, written, cores):
        """A quota and its period in one file, or `max`."""
        root = write(tmp_path, groups="0::/\n", mounts=OTHER_MOUNT + V2_MOUNT, **{"sys/fs/cgroup/cpu.max": written})
        assert cores == cgroup.cpu_quota(root)

    @pytest.mark.parametrize(("written", "cores"), [("250000", 2.5), ("-1", None)])
    def test_version_1(self, tmp_path, written, cores):
        """Two files, in the folder of the controller, and −1 for no quota."""
        folder = "sys/fs/cgroup/cpu,cpuacct/docker/abc"
        files = {f"{folder}/cpu.cfs_quota_us": written, f"{folder}/cpu.cfs_period_us": "100000"}
        groups = "4:memory:/elsewhere\n3:cpu,cpuacct:/docker/abc\n"
        root = write(tmp_path, groups=groups, mounts=V1_CPU_MOUNT.format(top="/"), **files)
        assert cores == cgroup.cpu_quota(root)

    @pytest.mark.parametrize("group", ["/docker/abc", "/../sibling"])
    def test_group_seen_as_the_top_of_the_mount(self, tmp_path, group):
        """In a container the group is named as the host does, or lies outside, while its files are mounted on top."""
        folder = "sys/fs/cgroup/cpu,cpuacct"
        files = {f"{folder}/cpu.cfs_quota_us": "300000", f"{folder}/cpu.cfs_period_us": "100000"}
        mounts = V1_CPU_MOUNT.format(top="/docker/abc")
        root = write(tmp_path, groups=f"3:cpu,cpuacct:{group}\n", mounts=mounts, **files)
        assert 3 == cgroup.cpu_quota(root)

    def test_lowest_level_counts(self, tmp_path):
        """A pod of 2 cores holds a container of 4: it gets 2."""
        files = {"sys/fs/cgroup/pod/cpu.max": "200000 100000", "sys/fs/cgroup/pod/box/cpu.max": "400000 100000"}
        root = write(tmp_path, groups="0::/pod/box\n", mounts=V2_MOUNT, **files)
        assert 2 == cgroup.cpu_quota(root)

    def test_both_versions_side_by_side(self, tmp_path):
        """On a hybrid system the controller lives in version 1, and version 2 has the processes alone."""
        folder = "sys/fs/cgroup/cpu,cpuacct"
        files = {f"{folder}/cpu.cfs_quota_us": "50000", f"{folder}/cpu.cfs_period_us": "100000"}
        mounts = V1_CPU_MOUNT.format(top="/") + V2_MOUNT.replace("/sys/fs/cgroup ", "/sys/fs/cgroup/unified ")
        root = write(tmp_path, groups="1:cpu,cpuacct:/\n0::/\n", mounts=mounts, **files)
        assert 0.5 == cgroup.cpu_quota(root)

    def test_mount_point_with_a_space(self, tmp_path):
        """Linux writes it in octal."""
        mounts = V2_MOUNT.replace("/sys/fs/cgroup", "/control\\040groups")
        root = write(tmp_path, groups="0::/\n", mounts=mounts, **{"control groups/cpu.max": "100000 100000"})
        assert 1 == cgroup.cpu_quota(root)

    def test_without_control_groups(self, tmp_path):
        """Another system, or an old one: no quota."""
        assert cgroup.cpu_quota(tmp_path) is None


class TestMemoryLimit:
    def test_version_2(self, tmp_path):
        """Bytes, or `max`; the lowest level counts."""
        files = {"sys/fs/cgroup/memory.max": "1073741824", "sys/fs/cgroup/box/memory.max": "max"}
        root = write(tmp_path, groups="0::/box\n", mounts=V2_MOUNT, **files)
        assert 2**30 == cgroup.memory_limit(root)

    @pytest.mark.parametrize(("written", "limit"), [("536870912", 2**29), ("9223372036854771712", None)])
    def test_version_1(self, tmp_path, written, limit):
        """Bytes; what no machine has stands for no limit."""
        files = {"sys/fs/cgroup/memory/memory.limit_in_bytes": written}
        root = write(tmp_path, groups="4:memory:/\n", mounts=V1_MEMORY_MOUNT.format(top="/"), **files)
        assert limit == cgroup.memory_limit(root)


class TestCores:
    @pytest.mark.parametrize(("quota", "cores"), [("10000 100000", 1), ("100000 100000", 1), ("max 100000", None)])
    def test_honour_the_quota(self, tmp_path, quota, cores):
        """A fraction rounds up, and there is at least 1; without a quota, those that the process may run on."""
        root = write(tmp_path, groups="0::/\n", mounts=V2_MOUNT, **{"sys/fs/cgroup/cpu.max": quota})
        assert (cores or machine.cores(tmp_path / "nothing")) == machine.cores(root)

    @pytest.mark.parametrize(("quota", "cores"), [(250_000, 3), (300_000, 3), (900_000, 4)])
    def test_round_up_and_honour_affinity(self, tmp_path, monkeypatch, quota, cores):
        """2.5 cores of time keep 3 threads busy; 9 are of no use to a process that may run on 4."""
        monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
        root = write(tmp_path, groups="0::/\n", mounts=V2_MOUNT, **{"sys/fs/cgroup/cpu.max": f"{quota} 100000"})
        assert cores == machine.cores(root)
