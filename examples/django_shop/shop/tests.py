"""Tests of the shop and its tasks: in a transaction that is rolled back, and with real commits."""

import contextlib

from django.contrib.auth.models import User
from django.core import mail
from django.db import connection, transaction
from django.test import TestCase, TransactionTestCase

from fastq import testing
from fastq.django import app
from fastq.django.compat import TaskResultStatus
from shop.tasks import award, count, greet, welcome


class SignUp(TestCase):
    """Rolled back after each test: tasks are looked at on Django's connection, and called."""

    def test_signing_up_enqueues_a_welcome(self) -> None:
        answer = self.client.post("/accounts", {"name": "ada", "email": "ada@example.com"}).json()
        assert welcome.get_result(answer["task"]).args == [answer["id"]]
        assert testing.enqueued(app) == []  # nobody else sees it

    def test_what_is_rolled_back_was_never_enqueued(self) -> None:
        with contextlib.suppress(PermissionError), transaction.atomic():
            self.client.post("/accounts", {"name": "eve", "email": "eve@example.com"})
        assert not User.objects.exists()
        assert testing.enqueued(app, conn=connection) == []

    def test_a_welcome_is_a_mail(self) -> None:
        user = User.objects.create_user("ada", "ada@example.com")
        assert welcome.call(user.pk) == "ada@example.com"
        assert [letter.body for letter in mail.outbox] == ["Hello ada!"]


class Committed(TransactionTestCase):
    """Django empties its own tables after each test; fastq's are emptied here."""

    def setUp(self) -> None:
        testing.clear(app.dsn)

    def test_from_the_request_to_the_mail(self) -> None:
        answer = self.client.post("/accounts", {"name": "ada", "email": "ada@example.com"}).json()
        testing.drain_sync(app)
        assert [letter.body for letter in mail.outbox] == ["Hello ada!"]
        assert welcome.get_result(answer["task"]).return_value == "ada@example.com"

    def test_all_kinds_of_tasks(self) -> None:
        user = User.objects.create_user("ada", "ada@example.com")
        results = [count.enqueue(most=3), greet.enqueue(user.pk)]
        award.enqueue_sync(user_id=user.pk, badge="new")
        testing.drain_sync(app)
        for result in results:
            result.refresh()
        assert [result.return_value for result in results] == ["3 in attempt 1", "hello ada"]
        user.refresh_from_db()
        assert user.last_name == "new"

    def test_a_user_who_is_gone(self) -> None:
        result = welcome.enqueue(0)
        with self.assertRaises(ExceptionGroup) as caught:  # noqa: PT027 - Django's runner needs no pytest
            testing.drain_sync(app)
        assert isinstance(caught.exception.exceptions[0], User.DoesNotExist)
        result.refresh()
        assert (result.status, result.attempts) == (TaskResultStatus.READY, 1)
        assert result.errors[0].exception_class_path.endswith("User.DoesNotExist")
