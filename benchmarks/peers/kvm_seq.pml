/* SPDX-License-Identifier: Apache-2.0
 * kvm-seq for SPIN.  spin -DV=2 -DH=1 -DK=2 -DP=1 -DF=2 [-DLITERAL] -a kvm_seq.pml
 * One transition per numbered line of benchmarks/models/kvm_seq.py: every step is one statement or one d_step.
 * Dead locals are cleared so that the count of states is the model's own. P <= 2, F <= 4. */
byte spte[P], pte[P], owner[F + 1];	/* owner[0] is a dummy */
byte seq, count;
bool lock;

#if F == 2
#define FREE (owner[1] == 0 || owner[2] == 0)
#elif F == 3
#define FREE (owner[1] == 0 || owner[2] == 0 || owner[3] == 0)
#else
#define FREE (owner[1] == 0 || owner[2] == 0 || owner[3] == 0 || owner[4] == 0)
#endif
#define ACQUIRE d_step { !lock -> lock = 1 }

active [V] proctype vcpu()
{	byte g, s, p;
v0:	if					/* v0 choose page */
	:: g = 0
#if P > 1
	:: g = 1
#endif
	fi;
v1:	if					/* v1 access or fault */
	:: d_step { spte[g] != 0 -> assert(owner[spte[g]] == g + 1); g = 0 }; goto v0
	:: spte[g] == 0
	fi;
	s = seq;				/* v2 */
	d_step {				/* v3 get_user_page */
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
	ACQUIRE;				/* v4 */
	if					/* v5 */
	:: d_step { seq != s || count > 0 -> s = 0; p = 0 }
	:: d_step { seq == s && count == 0 -> s = 0 };
		d_step { spte[g] = p; p = 0 }	/* v6 */
	fi;
	lock = 0;				/* v7 */
	goto v1
}

active [H] proctype host()
{	byte k, g, old;
end_h0:	if					/* h0 choose the operation */
	:: k < K ->				/* range */
		ACQUIRE;			/* h1 */
		count++;			/* h2 */
		d_step {			/* h3 */
			spte[0] = 0;
#if P > 1
			spte[1] = 0;
#endif
		};
		lock = 0;			/* h4 */
h5:		if				/* (SPIN: no label in front of a bare d_step) */
		:: d_step { old = pte[g]; pte[g] = 0 }
		fi;
		if				/* h6 */
		:: d_step { g < P - 1 -> owner[old] = 0; old = 0; g++ }; goto h5
		:: d_step { g == P - 1 -> owner[old] = 0; old = 0; g = 0 }
		fi;
		ACQUIRE;			/* h7 */
#ifndef LITERAL
		seq++;				/* h8 */
#endif
		count--;			/* h9 */
		d_step { lock = 0; k++ }	/* h10 */
	:: d_step { k < K -> g = 0 }; goto p1	/* page 0 */
#if P > 1
	:: d_step { k < K -> g = 1 }; goto p1	/* page 1 */
#endif
	fi;
	goto end_h0;
p1:	if
	:: d_step { old = pte[g]; pte[g] = 0 }
	fi;
	ACQUIRE;				/* p2 */
	seq++;					/* p3 */
	d_step { spte[g] = 0; g = 0 };		/* p4 */
	lock = 0;				/* p5 */
	d_step { owner[old] = 0; old = 0; k++ };	/* p6 */
	goto end_h0
}
