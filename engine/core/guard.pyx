"""A decorated function: the policy is entered before it runs and left when it ends, without a Python frame in between.

A Guard is called through the vectorcall protocol, so its arguments are passed on as they came. A GuardedCoroutine function gives a
Visit, a coroutine object in all but type: it enters when it is first resumed and leaves when the coroutine inside it returns, raises,
is closed or is dropped. Resuming it goes through `am_send` or `tp_iternext`, as the interpreter's version prefers.

Both look like the function they guard to `inspect`: signature, code and annotations are its own.
"""

cimport cython
from cpython.object cimport PyObject, PyTypeObject

from engine.core.admit cimport plain, request, verdict
from engine.core.breaker cimport FAILURE, IGNORED, SUCCESS, outcome
from engine.core.policy cimport Policy, outcome_of, stay

import functools
import inspect

cdef extern from *:
    """
    static void adm_make_callable(PyTypeObject *type, Py_ssize_t offset)
    {
        type->tp_vectorcall_offset = offset;
        type->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR;
        type->tp_call = PyVectorcall_Call;
        PyType_Modified(type);
    }

    static void adm_make_sendable(PyTypeObject *type, sendfunc send)
    {
        type->tp_as_async->am_send = send;
        PyType_Modified(type);
    }
    """
    ctypedef PyObject *(*vectorcallfunc)(PyObject *, PyObject *const *, size_t, PyObject *) except NULL
    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
        PYGEN_NEXT

    ctypedef PySendResult (*sendfunc)(PyObject *, PyObject *, PyObject **) except PYGEN_ERROR
    void adm_make_callable(PyTypeObject *type, Py_ssize_t offset)
    void adm_make_sendable(PyTypeObject *type, sendfunc send)
    PyObject *PyObject_Vectorcall(PyObject *function, PyObject *const *args, size_t count, PyObject *names)
    PySendResult PyIter_Send(PyObject *iterator, PyObject *value, PyObject **result)
    object PyMethod_New(object function, object instance)
    bint PyErr_ExceptionMatches(PyObject *type)
    void PyErr_Fetch(PyObject **type, PyObject **value, PyObject **trace)
    void PyErr_Restore(PyObject *type, PyObject *value, PyObject *trace)
    PyObject *PyExc_Exception
    PyObject *None_ "Py_None"
    void Py_DECREF(PyObject *thing)
    void Py_INCREF(object thing)


cdef void _leave_failed(Policy policy, stay *inside) noexcept:
    """Leave while an exception is on its way, which decides the outcome and goes on untouched."""
    cdef PyObject *kind
    cdef PyObject *value
    cdef PyObject *trace
    cdef outcome how = FAILURE if PyErr_ExceptionMatches(PyExc_Exception) else IGNORED
    PyErr_Fetch(&kind, &value, &trace)
    policy.leave(inside, how)
    PyErr_Restore(kind, value, trace)


cdef class Guard:
    """A function under a policy. Called like the function; raises Refused before it runs."""

    cdef vectorcallfunc call
    cdef Policy policy
    cdef object function
    cdef dict __dict__
    cdef object __weakref__

    def __cinit__(self, Policy policy not None, function):
        self.policy = policy
        self.function = function
        self.call = _call_plain
        functools.update_wrapper(self, function)

    def __get__(self, instance, owner):
        return self if instance is None else PyMethod_New(self, instance)

    def __reduce__(self):
        return self.__qualname__

    def __repr__(self):
        return f"<{self.function!r} under {self.policy!r}>"

    @property
    def __code__(self):
        return self.function.__code__

    @property
    def __defaults__(self):
        return self.function.__defaults__

    @property
    def __kwdefaults__(self):
        return self.function.__kwdefaults__


cdef class GuardedCoroutine(Guard):
    """A coroutine function under a policy. The coroutine raises Refused when it is first awaited."""

    def __cinit__(self, Policy policy not None, function):
        self.call = _call_coroutine
        if hasattr(inspect, "markcoroutinefunction"):
            inspect.markcoroutinefunction(self)


cdef PyObject *_call_plain(PyObject *callable, PyObject *const *args, size_t count, PyObject *names) except NULL:
    cdef Guard self = <Guard>callable
    cdef stay inside
    cdef verdict given
    cdef request asked = plain()
    cdef PyObject *result
    if not self.policy.enter(&asked, &inside, &given):
        self.policy.set_refusal(&given)
        return NULL
    result = PyObject_Vectorcall(<PyObject *>self.function, args, count, names)
    if result != NULL:
        self.policy.leave(&inside, SUCCESS)
    else:
        _leave_failed(self.policy, &inside)
    return result


cdef PyObject *_call_coroutine(PyObject *callable, PyObject *const *args, size_t count, PyObject *names) except NULL:
    cdef Guard self = <Guard>callable
    cdef PyObject *coroutine = PyObject_Vectorcall(<PyObject *>self.function, args, count, names)
    cdef Visit visit
    if coroutine == NULL:
        return NULL
    visit = Visit.__new__(Visit)
    visit.policy = self.policy
    visit.coroutine = <object>coroutine
    Py_DECREF(coroutine)
    Py_INCREF(visit)
    return <PyObject *>visit


@cython.final
@cython.freelist(64)
@cython.no_gc_clear     # a coroutine that is dropped leaves, for which it needs its policy
cdef class Visit:
    """The coroutine of a call under a policy."""

    cdef Policy policy
    cdef object coroutine
    cdef bint entered
    cdef stay inside
    cdef object __weakref__

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        return self.send(None)

    def send(self, value):
        """Resume the coroutine with `value`."""
        cdef PyObject *result = NULL
        cdef PySendResult status = _resume(<PyObject *>self, <PyObject *>value, &result)
        answer = <object>result
        Py_DECREF(result)
        if status == PYGEN_RETURN:
            raise StopIteration(answer)
        return answer

    def throw(self, kind, value=None, trace=None):
        """Resume the coroutine with an exception."""
        try:
            return self.coroutine.throw(*_exception(kind, value, trace))
        except StopIteration:
            self.policy.leave(&self.inside, SUCCESS)
            raise
        except BaseException as error:
            self.policy.leave(&self.inside, outcome_of(error))
            raise

    def close(self):
        """End the coroutine where it stands; the call is ignored."""
        try:
            self.coroutine.close()
        finally:
            self.policy.leave(&self.inside, IGNORED)

    @property
    def cr_await(self):
        return self.coroutine.cr_await

    @property
    def cr_code(self):
        return self.coroutine.cr_code

    @property
    def cr_frame(self):
        return self.coroutine.cr_frame

    @property
    def cr_running(self):
        return self.coroutine.cr_running

    @property
    def __name__(self):
        return self.coroutine.__name__

    @property
    def __qualname__(self):
        return self.coroutine.__qualname__

    def __repr__(self):
        return f"<{self.coroutine!r} under {self.policy!r}>"

    def __dealloc__(self):
        if self.inside.owner:
            self.policy.leave(&self.inside, IGNORED)


cdef tuple _exception(kind, value, trace):
    """The arguments of throw() as the interpreter still wants them."""
    if value is None and trace is None:
        return (kind,)
    return kind, value, trace


cdef PySendResult _resume(PyObject *visit, PyObject *value, PyObject **result) except PYGEN_ERROR:
    cdef Visit self = <Visit>visit
    cdef verdict given
    cdef request asked
    cdef PySendResult status
    if not self.entered:
        asked = plain()
        if not self.policy.enter(&asked, &self.inside, &given):
            self.coroutine.close()      # it was refused, not forgotten
            self.policy.set_refusal(&given)
            return PYGEN_ERROR
        self.entered = True
    status = PyIter_Send(<PyObject *>self.coroutine, value, result)
    if status == PYGEN_RETURN:
        self.policy.leave(&self.inside, SUCCESS)
    elif status == PYGEN_ERROR:
        _leave_failed(self.policy, &self.inside)
    return status


adm_make_callable(<PyTypeObject *>Guard, <Py_ssize_t><size_t>&(<Guard>NULL).call)
adm_make_callable(<PyTypeObject *>GuardedCoroutine, <Py_ssize_t><size_t>&(<Guard>NULL).call)
adm_make_sendable(<PyTypeObject *>Visit, _resume)
