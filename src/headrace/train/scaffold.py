"""`Scaffold`: the operations that a supervised run needs beside the steps of training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace import logging
from headrace.graph import add_to_collection, get_collection, get_default_graph
from headrace.keys import GraphKeys
from headrace.node import Operation, Tensor
from headrace.ops import array, control
from headrace.ops.summaries import merge_all
from headrace.train.saver import Saver
from headrace.variable_lists import (
    global_variables,
    global_variables_initializer,
    initialize_resources,
    local_variables_initializer,
    report_uninitialized_resources,
    report_uninitialized_variables,
    tables_initializer,
)


class Scaffold:
    """What initialises a model, says whether it is ready, merges its summaries and saves it.

    `init_op` runs if there is no checkpoint, fed `init_feed_dict`, and after it `init_fn(scaffold,
    session)`; `local_init_op`, fed `local_init_feed_dict`, runs each time, when
    `ready_for_local_init_op` gives no names of uninitialised variables, and then `ready_op` must
    give none either. What is left out is taken from another scaffold, else from the collection of
    its name, else made by `finalize`.
    """

    def __init__(
        self,
        init_op: Any = None,
        init_feed_dict: dict[Any, Any] | None = None,
        init_fn: Callable[[Scaffold, Any], Any] | None = None,
        ready_op: Any = None,
        ready_for_local_init_op: Any = None,
        local_init_op: Any = None,
        summary_op: Any = None,
        saver: Any = None,
        copy_from_scaffold: Scaffold | None = None,
        local_init_feed_dict: dict[Any, Any] | None = None,
    ):
        other = copy_from_scaffold
        if other is not None and not isinstance(other, Scaffold):
            raise TypeError("copy_from_scaffold is not a Scaffold instance.")

        def given(value: Any, name: str) -> Any:
            return getattr(other, name) if value is None and other is not None else value

        self._init_op = given(init_op, "_init_op")
        self._init_feed_dict = given(init_feed_dict, "_init_feed_dict")
        self._user_init_fn = given(init_fn, "_user_init_fn")
        self._ready_op = given(ready_op, "_ready_op")
        self._ready_for_local_init_op = given(ready_for_local_init_op, "_ready_for_local_init_op")
        self._local_init_op = given(local_init_op, "_local_init_op")
        self._local_init_feed_dict = given(local_init_feed_dict, "_local_init_feed_dict")
        self._summary_op = given(summary_op, "_summary_op")
        self._saver = given(saver, "_saver")

    def finalize(self) -> Scaffold:
        """Make what is missing, in the default graph, and finalize that; returns self.

        RuntimeError if a collection has several items to choose from.
        """
        if self._init_op is None:
            self._init_op = _from_collection("init_op", GraphKeys.INIT_OP, _default_init_op)
        if self._ready_op is None:
            self._ready_op = _from_collection("ready_op", GraphKeys.READY_OP, _default_ready_op)
        if self._ready_for_local_init_op is None:
            self._ready_for_local_init_op = _from_collection(
                "ready_for_local_init_op",
                GraphKeys.READY_FOR_LOCAL_INIT_OP,
                _default_ready_for_local_init_op,
            )
        if self._local_init_op is None:
            self._local_init_op = _from_collection(
                "local_init_op", GraphKeys.LOCAL_INIT_OP, Scaffold.default_local_init_op
            )
        if self._summary_op is None:
            self._summary_op = _from_collection("summary_op", GraphKeys.SUMMARY_OP, merge_all)
        if self._saver is None:
            self._saver = _from_collection("saver", GraphKeys.SAVERS, _default_saver)
        self._saver.build()
        get_default_graph().finalize()
        logging.info("Graph was finalized.")
        return self

    @staticmethod
    def default_local_init_op() -> Operation:
        """An operation that initialises local variables and tables."""
        return control.group(
            local_variables_initializer(),
            tables_initializer(),
            initialize_resources(get_collection(GraphKeys.LOCAL_RESOURCES)),
        )

    @property
    def init_fn(self) -> Callable[[Any], Any] | None:
        """What is called with the session after `init_op`."""
        made = self._user_init_fn
        return None if made is None else lambda session: made(self, session)

    @property
    def init_op(self) -> Any:
        """The operation that initialises global variables."""
        return self._init_op

    @property
    def init_feed_dict(self) -> dict[Any, Any] | None:
        """What `init_op` is fed."""
        return self._init_feed_dict

    @property
    def ready_op(self) -> Any:
        """The names of what is not initialised, strings [n]."""
        return self._ready_op

    @property
    def ready_for_local_init_op(self) -> Any:
        """The names of what is not initialised and `local_init_op` may need, strings [n]."""
        return self._ready_for_local_init_op

    @property
    def local_init_op(self) -> Any:
        """The operation that initialises what is not saved."""
        return self._local_init_op

    @property
    def local_init_feed_dict(self) -> dict[Any, Any] | None:
        """What `local_init_op` is fed."""
        return self._local_init_feed_dict

    @property
    def summary_op(self) -> Any:
        """All summaries merged; None if there are none."""
        return self._summary_op

    @property
    def saver(self) -> Any:
        """The Saver."""
        return self._saver


def _from_collection(argument: str, key: str, make: Callable[[], Any]) -> Any:
    """The item of a collection; a new one is put there if it is empty."""
    found = get_collection(key)
    if len(found) > 1:
        raise RuntimeError(
            f'More than one item in the collection "{key}". Please indicate which one to use by '
            f"passing it to the tf.Scaffold constructor as:  tf.Scaffold({argument}=item to use)"
        )
    if found:
        return found[0]
    made = make()
    if made is not None:
        add_to_collection(key, made)
    return made


def _default_init_op() -> Operation:
    return control.group(
        global_variables_initializer(), initialize_resources(get_collection(GraphKeys.RESOURCES))
    )


def _default_ready_op() -> Tensor:
    resources = get_collection(GraphKeys.RESOURCES) + get_collection(GraphKeys.LOCAL_RESOURCES)
    return array.concat(
        [report_uninitialized_variables(), report_uninitialized_resources(resources)], 0
    )


def _default_ready_for_local_init_op() -> Tensor:
    resources = get_collection(GraphKeys.RESOURCES)
    return array.concat(
        [
            report_uninitialized_variables(global_variables()),
            report_uninitialized_resources(resources),
        ],
        0,
    )


def _default_saver() -> Saver:
    return Saver(sharded=True, allow_empty=True)
