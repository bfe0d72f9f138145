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

/* The `size` bytes from `from` on, with all frames of the chain at *frame that are neither in further
   chunks nor in generators, were copied `distance` further on: makes the chain, and the frame
   objects, that of the copies.

   first: the frame that the oldest of the further chunks begins with; NULL: there is none.
   *border: NULL at first, and again when a chunk is given back (ml_datastack_init sees to that). It
   spares the way through the frames in further chunks: it is the link that leads out of them. */
void ml_frames_moved(struct _PyInterpreterFrame **frame, const void *first,
                     struct _PyInterpreterFrame ***border, const char *from, size_t size,
                     ptrdiff_t distance);

#endif
