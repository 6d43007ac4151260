/* What the policy asks of the interpreter and Cython has no word for. */
#ifndef ADMITTANCE_INTERPRETER_H
#define ADMITTANCE_INTERPRETER_H

#include <Python.h>
#include <string.h>

/* The frame that runs: by it a `with` block is known. */
#if PY_VERSION_HEX < 0x030D0000
#define adm_frame() ((void *)PyThreadState_GET()->cframe->current_frame)
#else
#define adm_frame() ((void *)PyThreadState_GET()->current_frame)
#endif

/* Sets an exception of a class that has no __init__ of its own. */
static inline void adm_set_exception(PyObject *type, PyObject *args)
{
    PyObject *error = ((PyTypeObject *)PyExc_BaseException)->tp_new((PyTypeObject *)type, args, NULL);
    if (error != NULL) {
        PyErr_SetObject(type, error);
        Py_DECREF(error);
    }
}

static inline PyObject *adm_raise(void)     /* what was set */
{
    return NULL;
}

/* A method that is mostly called without a word, and then without any parsing; with words it goes on to one that reads them. */
#define ADM_WORDS_MAX 8
typedef PyObject *(*adm_plain_call)(PyObject *self);
static adm_plain_call adm_plain;
static PyObject *adm_with_words;
static PyMethodDef adm_method;

static PyObject *adm_call(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    PyObject *all[1 + ADM_WORDS_MAX];
    Py_ssize_t words = count + (names == NULL ? 0 : PyTuple_GET_SIZE(names));
    if (words == 0) {
        return adm_plain(self);
    }
    if (words > ADM_WORDS_MAX) {
        PyErr_Format(PyExc_TypeError, "%s() takes no %zd arguments", adm_method.ml_name, words);
        return NULL;
    }
    all[0] = self;
    memcpy(all + 1, args, (size_t)words * sizeof all[0]);
    return PyObject_Vectorcall(adm_with_words, all, (size_t)count + 1, names);
}

/* Puts such a method into a class; the name and the doc are kept as they are. */
static int adm_add_method(PyObject *owner, const char *name, const char *doc, adm_plain_call plain, PyObject *with_words)
{
    PyTypeObject *type = (PyTypeObject *)owner;
    PyObject *descriptor;
    int status;
    adm_plain = plain;
    adm_with_words = Py_NewRef(with_words);
    adm_method.ml_name = name;
    adm_method.ml_meth = (PyCFunction)(void (*)(void))adm_call;
    adm_method.ml_flags = METH_FASTCALL | METH_KEYWORDS;
    adm_method.ml_doc = doc;
    descriptor = PyDescr_NewMethod(type, &adm_method);
    if (descriptor == NULL) {
        return -1;
    }
    status = PyDict_SetItemString(type->tp_dict, name, descriptor);
    Py_DECREF(descriptor);
    PyType_Modified(type);
    return status;
}

#endif
