/* The frames of greenlets that are suspended or lost, where they are no objects (CPython >= 3.11):
   chains of struct _PyInterpreterFrame from the innermost outwards. They are on the greenlet's data
   stack or in generators; from 3.12 on, entry frames on its C stack come in between (Python/ceval.c,
   _PyEval_EvalFrameDefault). NULL is the empty chain. */

#ifndef ML_FRAMES_H
#define ML_FRAMES_H

#include <Python.h>

struct _PyInterpreterFrame;

/* The innermost frame that is complete, as a frame object: a new reference. NULL: there is none, or
   MemoryError. Runs no other code. */
PyObject *ml_frames_top(struct _PyInterpreterFrame *frame);

/* Visits what the frames on the data stack own: functions, variables, and temporaries where it is
   known how many there are. In the innermost frame they are up to `stack_end` if that is among them,
   in each up to one of `ends`, which NULL ends, that is. Not what a frame object that somebody refers
   to gives access to. */
int ml_frames_traverse(struct _PyInterpreterFrame *frame, PyObject **stack_end,
                       PyObject **const *ends, visitproc visit, void *arg);

/* Releases what they own, for frames that will never run again. Those whose frame objects somebody else
   refers to move into these, so the caller may free the data stack. Runs arbitrary code, to which
   none of the frames is visible; the C stack is not needed any more when that begins. */
void ml_frames_drop(struct _PyInterpreterFrame *frame, PyObject **stack_end);

/* Links the chain that begins at *frame around its entry frames, whose bytes are about to go.
   Returns a list of them, kept in these bytes, with which, once they are back, ml_frames_link
   restores the chain. Neither needs memory. */
struct _PyInterpreterFrame *ml_frames_unlink(struct _PyInterpreterFrame **frame);
void ml_frames_link(struct _PyInterpreterFrame *entries);

#endif
