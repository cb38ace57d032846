# SPDX-License-Identifier: Apache-2.0
"""The drivers of a whole kernel: Debian's linux-source, if it can be had. Nothing of its text is kept."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from unpinned.mm.system import whole
from unpinned.new.c.plan import begin
from unpinned.plan.reading.classes import read_plans

PACKAGE = "linux-source-6.12"

#: Files with the callbacks that each must be found to have, and the fault that is guessed, if it is known to be right.
FILES = {
    "virt/kvm/kvm_main.c": (6, None),
    "virt/kvm/pfncache.c": (1, "hva_to_pfn_retry"),
    "arch/s390/kvm/pv.c": (1, ""),
    "arch/x86/kernel/cpu/sgx/encl.c": (2, ""),
    "arch/x86/kvm/mmu/mmu.c": (0, "direct_page_fault"),
    "drivers/gpu/drm/amd/amdgpu/amdgpu_hmm.c": (2, "amdgpu_hmm_range_get_pages"),
    "drivers/gpu/drm/amd/amdkfd/kfd_process.c": (3, ""),
    "drivers/gpu/drm/amd/amdkfd/kfd_svm.c": (1, "svm_range_validate_and_map"),
    "drivers/gpu/drm/i915/gem/i915_gem_userptr.c": (1, "i915_gem_object_userptr_submit_init"),
    "drivers/gpu/drm/nouveau/nouveau_svm.c": (3, "nouveau_range_fault"),
    "drivers/gpu/drm/radeon/radeon_mn.c": (1, None),
    "drivers/gpu/drm/xe/xe_hmm.c": (0, "xe_hmm_userptr_populate_range"),
    "drivers/gpu/drm/xe/xe_vm.c": (1, ""),
    "drivers/infiniband/core/umem_odp.c": (0, "ib_umem_odp_map_dma_and_lock"),
    "drivers/infiniband/hw/hfi1/mmu_rb.c": (1, ""),
    "drivers/infiniband/hw/hfi1/user_exp_rcv.c": (2, "hfi1_user_exp_rcv_setup"),
    "drivers/infiniband/hw/mlx5/odp.c": (1, ""),
    "drivers/iommu/amd/pasid.c": (2, ""),
    "drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3-sva.c": (3, ""),
    "drivers/iommu/intel/svm.c": (3, ""),
    "drivers/misc/ocxl/link.c": (1, "xsl_fault_handler_bh"),
    "drivers/misc/sgi-gru/grufault.c": (0, None),
    "drivers/misc/sgi-gru/grutlbpurge.c": (4, ""),
    "drivers/xen/gntdev.c": (1, None),
    "lib/test_hmm.c": (2, "dmirror_range_fault"),
    "mm/hmm.c": (0, None),
    "mm/mmu_notifier.c": (None, None),
}


@pytest.fixture(scope="module")
def linux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with these files, from the package if it is installed, or fetched and unpacked."""
    folder = tmp_path_factory.mktemp("linux")
    archive = Path("/usr/src") / f"{PACKAGE}.tar.xz"
    try:
        if not archive.exists():
            archive = _fetched(folder)
        wanted = [f"{PACKAGE}/{name}" for name in FILES]
        command = ["tar", "-xJf", str(archive), "-C", str(folder), "--occurrence=1", *wanted]
        subprocess.run(command, check=True, capture_output=True, timeout=110)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"Debian's {PACKAGE} cannot be had here: {error}")
    return folder / PACKAGE


def _fetched(folder: Path) -> Path:
    """Fetch the package without installing it, and return the archive in it."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise OSError("there is no apt-get and dpkg-deb")
    command = ["apt-get", "-q", "download", PACKAGE]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)
    (package,) = folder.glob("*.deb")
    archive = folder / f"{PACKAGE}.tar.xz"
    inner = ["tar", "-x", "-O", f"./usr/src/{archive.name}"]
    unpack = ["dpkg-deb", "--fsys-tarfile", str(package)]
    with subprocess.Popen(unpack, stdout=subprocess.PIPE) as unpacked, archive.open("wb") as out:
        subprocess.run(inner, stdin=unpacked.stdout, stdout=out, check=True, timeout=110)
    package.unlink()
    return archive


@pytest.mark.long
@pytest.mark.timeout(300)
def test_every_callback_is_found_and_every_file_becomes_a_plan(
    linux: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    read = understood = 0
    rows = []
    for name, (callbacks, fault) in FILES.items():
        begun = begin("driver", linux / name)
        assert not begun.refusal, name
        assert callbacks is None or len(begun.callbacks) == callbacks, name
        assert fault is None or begun.fault == fault, name
        made = tmp_path / "driver.py"
        made.write_text(begun.text, encoding="utf-8")
        for plan in read_plans(made):
            whole(plan)
        read += begun.read
        understood += begun.understood
        rows.append(f"{begun.understood:4} of {begun.read:4}  {name}")
    rows.append(f"{understood} of {read} statements understood, {100 * understood / read:.0f} %")
    with capsys.disabled():
        sys.stdout.write("\n" + "".join(f"{row}\n" for row in rows))
    assert understood > 0.4 * read


@pytest.mark.long
@pytest.mark.timeout(300)
def test_what_is_wanted_of_four_of_them(linux: Path) -> None:
    """Each lock, count and call stands where it does in C."""
    hmm = begin("hmm", linux / "lib/test_hmm.c").text
    assert hmm.index("interval_read_begin()  #") < hmm.index("get_user_page") < hmm.index("read_retry(notifier_seq)")
    gru = begin("gru", linux / "drivers/misc/sgi-gru/grutlbpurge.c").text
    for words in ("self.ms_range_active += 1", "self.ms_range_active.add_return(-1)", "self.ms_wait_queue.wake_up()"):
        assert words in gru
    fault = begin("gru", linux / "drivers/misc/sgi-gru/grufault.c", "gru_user_dropin").text
    assert "self.ms_wait_queue.wait_event(self.ms_range_active == 0)" in fault
    pfn = begin("pfncache", linux / "virt/kvm/pfncache.c").text
    assert "mmu_seq = self.mmu_invalidate_seq" in pfn
    assert pfn.index("get_user_page") < pfn.index("if not self.mmu_notifier_retry_cache(page_range(gfn), mmu_seq)")
    odp = begin("odp", linux / "drivers/infiniband/core/umem_odp.c").text
    assert "returns with umem_mutex held" in odp
