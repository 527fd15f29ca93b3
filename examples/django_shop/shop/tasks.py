"""The tasks: Django's, and where more than Django's is wanted, fastq's own."""

from django.contrib.auth.models import User
from django.core.mail import send_mail
from django.db import connection, transaction

import fastq
from fastq.django import TaskContext, app

try:
    from django.tasks import task
except ImportError:  # Django 5.2
    from django_tasks import task


@task(queue_name="mail", retries=5)
def welcome(user_id: int) -> str:
    user = User.objects.get(pk=user_id)
    send_mail("Welcome", f"Hello {user.username}!", None, [user.email])
    return user.email


@task(takes_context=True)
def count(context: TaskContext, most: int) -> str:
    for done in range(most):
        context.job.progress_sync(done / most, f"{done} of {most}")
    return f"{most} in attempt {context.attempt}"


@task
async def greet(user_id: int) -> str:
    user = await User.objects.aget(pk=user_id)
    return f"hello {user.username}"


@app.task
def award(ctx: fastq.Context, user_id: int, badge: str) -> None:
    with transaction.atomic():
        User.objects.filter(pk=user_id).update(last_name=badge)
        ctx.complete_sync(connection)
