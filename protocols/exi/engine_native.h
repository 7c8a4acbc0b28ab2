/* What the compiled build of engine.py does in C: reading eight bytes at once, and records.
 *
 * Records are dictionaries of always the same keys, made by copying one that has them and putting other values in.
 * PyDict_Copy clones a dictionary without holes as it is, so in all copies the values stand at the same distance from
 * `ma_keys`. Where that is, `layout` finds out by looking for values it knows, so nothing here rests on what the entries
 * look like in one version of CPython. Where it does not find them (or on an interpreter whose dictionaries are not like
 * that) it returns 0, and the engine does without records. */

#ifndef PLUGTAP_ENGINE_NATIVE_H
#define PLUGTAP_ENGINE_NATIVE_H

#include <Python.h>

/* Eight bytes, big-endian. */
static inline unsigned long long load(const unsigned char *buffer, Py_ssize_t i) {
#if defined(__GNUC__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    unsigned long long word;
    memcpy(&word, buffer + i, 8);
    return __builtin_bswap64(word);
#else
    unsigned long long word = 0;
    for (int k = 0; k < 8; k++) {
        word = word << 8 | buffer[i + k];
    }
    return word;
#endif
}

static Py_ssize_t records_step = 2 * sizeof(PyObject *); /* from one value to the next; measured by `layout` */

/* Puts `value` at `place` of the list `values`, which is long enough; places may be empty. */
static inline void keep(PyObject *values, Py_ssize_t place, PyObject *value) {
    PyObject **at = &((PyListObject *)values)->ob_item[place];
    PyObject *old = *at;
    Py_INCREF(value);
    *at = value;
    Py_XDECREF(old);
}

/* Takes `count` values from the list `values` from `base` on, as a list; their places are empty afterwards. */
static PyObject *drop(PyObject *values, Py_ssize_t base, Py_ssize_t count) {
    PyObject *taken = PyList_New(count);
    if (taken == NULL) {
        return NULL;
    }
    PyObject **from = ((PyListObject *)values)->ob_item + base;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyList_SET_ITEM(taken, i, from[i]);
        from[i] = NULL;
    }
    return taken;
}

/* Bytes from ma_keys to the first value in every copy of `model`, a dictionary whose values are distinct objects that are
 * nowhere else in it; 0 when they cannot be found at even steps. */
static Py_ssize_t layout(PyObject *model) {
#if defined(PYPY_VERSION) || defined(Py_GIL_DISABLED)
    return 0;
#else
    Py_ssize_t size, first = 0, place = 0, position = 0;
    PyObject *key, *value, *bytes, *copy = PyDict_Copy(model);
    if (copy == NULL || (bytes = PyObject_CallMethod(copy, "__sizeof__", NULL)) == NULL) {
        PyErr_Clear();
        Py_XDECREF(copy);
        return 0;
    }
    size = PyLong_AsSsize_t(bytes) - (Py_ssize_t)sizeof(PyDictObject);
    Py_DECREF(bytes);
    char *keys = (char *)((PyDictObject *)copy)->ma_keys;
    while (PyDict_Next(model, &position, &key, &value)) {
        if (first == 0) { /* search */
            for (Py_ssize_t at = sizeof(void *); at + (Py_ssize_t)sizeof(void *) <= size; at += sizeof(void *)) {
                if (*(PyObject **)(keys + at) == value) {
                    first = place = at;
                    break;
                }
            }
            if (first == 0) {
                break;
            }
        } else { /* expect */
            place += records_step;
            if (place + (Py_ssize_t)sizeof(void *) > size || *(PyObject **)(keys + place) != value) {
                first = 0;
                break;
            }
        }
    }
    Py_DECREF(copy);
    return first;
#endif
}

/* A copy of `model` with the `count` values that stand in the list `values` from `base` on. They are moved: their
 * places are empty afterwards. `first` is what `layout` gave for `model`. */
static PyObject *record(PyObject *model, Py_ssize_t first, PyObject *values, Py_ssize_t base, Py_ssize_t count) {
    PyObject *made = PyDict_Copy(model);
    if (made == NULL) {
        return NULL;
    }
    PyObject **from = ((PyListObject *)values)->ob_item + base;
    char *slot = (char *)((PyDictObject *)made)->ma_keys + first;
    for (Py_ssize_t i = 0; i < count; i++, slot += records_step) {
        PyObject *old = *(PyObject **)slot;
        *(PyObject **)slot = from[i];
        from[i] = NULL;
        Py_DECREF(old);
    }
    return made;
}

#endif
