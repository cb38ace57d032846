// SPDX-License-Identifier: Apache-2.0
/* A client of an interval notifier, written for these tests. */

struct mirror {
	struct mmu_interval_notifier sub;
	struct mutex mutex;
	struct xarray table;
};

static bool mirror_invalidate(struct mmu_interval_notifier *sub, const struct mmu_notifier_range *range,
			      unsigned long cur_seq)
{
	struct mirror *mirror = container_of(sub, struct mirror, sub);

	if (mmu_notifier_range_blockable(range))
		mutex_lock(&mirror->mutex);
	else if (!mutex_trylock(&mirror->mutex))
		return false;
	mmu_interval_set_seq(sub, cur_seq);
	mirror_forget(mirror, range->start, range->end);
	mutex_unlock(&mirror->mutex);
	return true;
}

static const struct mmu_interval_notifier_ops mirror_ops = {
	.invalidate = mirror_invalidate,
};

static int mirror_fault(struct mirror *mirror, struct hmm_range *range)
{
	int ret;

again:
	range->notifier_seq = mmu_interval_read_begin(range->notifier);
	mmap_read_lock(mirror->sub.mm);
	ret = hmm_range_fault(range);
	mmap_read_unlock(mirror->sub.mm);
	if (ret == -EBUSY)
		goto again;
	if (ret)
		return ret;
	mutex_lock(&mirror->mutex);
	if (mmu_interval_read_retry(range->notifier, range->notifier_seq)) {
		mutex_unlock(&mirror->mutex);
		goto again;
	}
	mirror_learn(mirror, range);
	mutex_unlock(&mirror->mutex);
	return 0;
}
