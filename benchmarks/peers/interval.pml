/* SPDX-License-Identifier: Apache-2.0
 * The interval notifier for SPIN.  spin -DV=2 -DH=1 -DK=2 -DP=1 -DF=2 [-DFORGETFUL] -a interval.pml
 * One transition per numbered line of benchmarks/models/interval.py: every step is one statement or one d_step.
 * Dead locals are cleared so that the count of states is the model's own. P <= 2, F <= 4. */
byte spte[P], pte[P], owner[F + 1];	/* owner[0] is a dummy */
byte seq = 2, seen = 1, active_ops;
bool core_lock, user_lock;

#if F == 2
#define FREE (owner[1] == 0 || owner[2] == 0)
#elif F == 3
#define FREE (owner[1] == 0 || owner[2] == 0 || owner[3] == 0)
#else
#define FREE (owner[1] == 0 || owner[2] == 0 || owner[3] == 0 || owner[4] == 0)
#endif

active [V] proctype device()
{	byte g, s, p;
	bool busy;
d0:	if					/* d0 choose page */
	:: g = 0
#if P > 1
	:: g = 1
#endif
	fi;
d1:	if					/* d1 access or fault */
	:: d_step { spte[g] != 0 -> assert(owner[spte[g]] == g + 1); g = 0 }; goto d0
	:: spte[g] == 0
	fi;
	d_step { !core_lock -> core_lock = 1 };	/* d2 */
	d_step { s = seen; busy = (s == seq) };	/* d3 */
	if					/* d4 */
	:: d_step { busy -> core_lock = 0; busy = 0 };
		seq != s			/* d5 */
	:: d_step { !busy -> core_lock = 0 }
	fi;
	d_step {				/* d6 get_user_page */
		(pte[g] != 0 || FREE) ->
		if
		:: pte[g] == 0 ->		/* lowest free frame; p doubles as the index */
			p = 1;
			do
			:: owner[p] != 0 -> p++
			:: else -> break
			od;
			owner[p] = g + 1;
			pte[g] = p
		:: else -> p = pte[g]
		fi
	};
	d_step { !user_lock -> user_lock = 1 };	/* d7 */
	if					/* d8 */
	:: d_step { seen != s -> s = 0; p = 0 }
	:: d_step { seen == s -> s = 0 };
		d_step { spte[g] = p; p = 0 }	/* d9 */
	fi;
	user_lock = 0;				/* d10 */
	goto d1
}

active [H] proctype invalidate()
{	byte k, g, old;
#ifndef FORGETFUL
	byte cur;
#endif
end_i0:	if					/* i0 choose page */
	:: d_step { k < K -> g = 0 }
#if P > 1
	:: d_step { k < K -> g = 1 }
#endif
	fi;
	d_step { !core_lock -> core_lock = 1 };	/* i1 */
	d_step {				/* i2 */
		active_ops++;
		seq = seq | 1;
#ifndef FORGETFUL
		cur = seq
#endif
	};
	core_lock = 0;				/* i3 */
	d_step { !user_lock -> user_lock = 1 };	/* i4 */
#ifndef FORGETFUL
	d_step { seen = cur; cur = 0 };		/* i5 */
#endif
	spte[g] = 0;				/* i6 */
	user_lock = 0;				/* i7 */
	d_step { old = pte[g]; pte[g] = 0; g = 0 };	/* i8 */
	d_step { owner[old] = 0; old = 0 };	/* i9 */
	d_step { !core_lock -> core_lock = 1 };	/* i10 */
	d_step {				/* i11 */
		active_ops--;
		if
		:: active_ops == 0 -> seq++
		:: else
		fi
	};
	d_step { core_lock = 0; k++ };		/* i12 */
	goto end_i0
}
