"""Tests of the application and its jobs: in a transaction that is rolled back, and with real commits."""

import os

from django.contrib.auth.models import User
from django.core import mail
from django.db import connection
from django.test import TestCase, TransactionTestCase
from jobs import app, welcome

from fastq import testing


class SignUp(TestCase):
    """Rolled back after each test: jobs are looked at on Django's connection, and run one by one."""

    def setUp(self) -> None:
        self.enterContext(app)

    def test_signing_up_enqueues_a_welcome(self) -> None:
        user_id = self.client.post("/accounts", {"name": "ada", "email": "ada@example.com"}).json()["id"]
        job = testing.assert_enqueued(welcome, conn=connection, user_id=user_id)
        assert job.queue == "mail"
        assert testing.enqueued(app) == []  # nobody else sees it

    def test_a_welcome_is_a_mail(self) -> None:
        user = User.objects.create_user("ada", "ada@example.com")  # not committed; the handler runs in this thread
        assert testing.run_job_sync(app, welcome.job(user_id=user.pk)) == "ada@example.com"
        assert [letter.body for letter in mail.outbox] == ["Hello ada!"]


class Committed(TransactionTestCase):
    """Django empties its own tables after each test; fastq's are emptied here."""

    def setUp(self) -> None:
        testing.clear(os.environ["FASTQ_DSN"])
        self.enterContext(app)

    def test_from_the_request_to_the_mail(self) -> None:
        self.client.post("/accounts", {"name": "ada", "email": "ada@example.com"})
        testing.drain_sync(app)
        assert [letter.body for letter in mail.outbox] == ["Hello ada!"]

    def test_a_user_who_is_gone(self) -> None:
        welcome.enqueue_sync(user_id=0)
        with self.assertRaises(ExceptionGroup) as caught:  # noqa: PT027 - Django's runner needs no pytest
            testing.drain_sync(app)
        assert isinstance(caught.exception.exceptions[0], User.DoesNotExist)
        assert testing.assert_enqueued(welcome).state == "retrying"
